"""Rows of `differences` of what a search finds: against loops, made again with the search, and as they are printed."""

import itertools
import math
import re

import numpy as np
import polars as pl
import pytest

from embedshift.statistics.paired import critical_of_signs
from support.comparing import variant
from support.matrix import first_only
from support.synthetic import make_study
from support.tango import slow_tango

pytestmark = pytest.mark.slow

NAMES = ["noise", "blur", "horizontal_flip"]
FOUND = ["recall@1", "matched@0.001"]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """150 images, two draws; under blur three images have no vector."""
    folder = tmp_path_factory.mktemp("found")
    effect = {"noise": 2.0, "blur": 0.2, "horizontal_flip": 1.2}
    first = make_study(folder / "first", 150, NAMES, effect=effect, dim=8, draws=2, shard_size=150, with_tables=False)
    lost = (pl.col("view") == "blur") & (pl.col("image_id") < "image-00003")

    def without(rows):
        vectors = np.stack(rows["embedding"].to_list())
        vectors[rows.select(lost)[:, 0].to_numpy()] = 0.0
        kept = pl.when(lost).then(None).otherwise("cosine_similarity").alias("cosine_similarity")
        return rows.with_columns(pl.Series("embedding", vectors, dtype=rows.schema["embedding"]), kept)

    return variant(first, folder / "study", without, shard_size=150)


def by_image(study, metric):
    """The part of each image's views that are found, or matched, `[n, A]`; NaN where none has a vector."""
    ranks = study.table("search_ranks").sort("image_id", "view", "draw")
    at = study.thresholds().filter(false_match_rate=0.001)["threshold"][0]
    columns = []
    for name in NAMES:
        means = []
        for _, views in ranks.filter(view=name).group_by("image_id", maintain_order=True):
            there = views.drop_nulls("rank")
            is_found = (
                there["rank"] == 1 if metric == "recall@1" else there["cosine"].cast(pl.Float32) >= np.float32(at)
            )
            means.append(is_found.mean() if len(there) else np.nan)
        columns.append(means)
    return np.array(columns, float).T


@pytest.mark.parametrize("metric", first_only(FOUND))
def test_every_pair_is_that_of_a_loop(study, metric):
    outcomes, seed = by_image(study, metric), study.info()["config"]["seed"]
    assert np.isnan(outcomes).sum() == 3
    pairs = [*itertools.combinations(range(3), 2)]
    gains = np.stack([outcomes[:, a] - outcomes[:, b] for a, b in pairs], axis=1)
    z = critical_of_signs(np.nan_to_num(gains), seed=seed)
    table = study.differences().filter(metric=metric)
    for (a, b), gain, row in zip(pairs, gains.T, table.iter_rows(named=True), strict=True):
        gain = gain[~np.isnan(gain)]
        assert (row["augmentation"], row["other"]) == (NAMES[a], NAMES[b])
        assert row["difference"] == pytest.approx(gain.mean(), abs=1e-12)
        assert row["effect"] == pytest.approx(gain.mean() / gain.std(ddof=1), rel=1e-9)
        low, high = slow_tango(np.maximum(gain, 0).sum(), np.maximum(-gain, 0).sum(), len(gain), z)
        assert (row["low"], row["high"]) == pytest.approx((low, high), abs=1e-9)
        assert row["significant"] == (low > 0 or high < 0)
    assert table["significant"].any()
    assert table.select("ratio", "ratio_low", "ratio_high").null_count().row(0) == (3, 3, 3)


def test_they_are_printed_beside_one_augmentation(study, cli):
    done = cli("search", study.folder, "--beside", "blur")
    printed = {
        line.split()[0]: re.findall(r"([+-][\d.]+) \((-?[\d.]+) to (-?[\d.]+)\) ?(\*?)", line)
        for line in done.out.replace("−", "-").splitlines()
        if line.split() and line.split()[0] in NAMES and " to " in line and "(" in line
    }
    assert printed.keys() == {"noise", "horizontal_flip"}
    for other, sign in (("noise", 1), ("horizontal_flip", -1)):
        for metric, numbers in zip(FOUND, printed[other], strict=True):
            pair = pl.col("augmentation").is_in([other, "blur"]) & pl.col("other").is_in([other, "blur"])
            row = study.differences().filter(pair, metric=metric).row(0, named=True)
            ends = sorted(100 * sign * row[name] for name in ("low", "high"))
            low, high = math.floor(10 * ends[0]) / 10, math.ceil(10 * ends[1]) / 10
            wanted = (f"{100 * sign * row['difference']:+.1f}", f"{low:.1f}", f"{high:.1f}")
            assert numbers == (*wanted, "*" if row["significant"] else "")
    done = cli("search", study.folder, "--beside", "blurr")
    assert done.code == 2
    assert "unknown augmentation 'blurr'; did you mean 'blur'?" in done.err


def test_they_are_made_again_with_the_search(study):
    before = study.differences()
    study.table("search", queries=60)
    after, is_found = study.differences(), pl.col("metric").is_in(FOUND)
    assert after.filter(~is_found).equals(before.filter(~is_found))
    assert len(by_image(study, "recall@1")) == 60
    for row in after.filter(metric="recall@1").iter_rows(named=True):
        a, b = (by_image(study, "recall@1")[:, NAMES.index(row[name])] for name in ("augmentation", "other"))
        assert row["difference"] == pytest.approx(np.nanmean(a - b), abs=1e-12)
    study.table("search", queries="all")
    assert study.differences().equals(before)
