"""Differences between studies, their intervals and what is significant, against loops."""

import functools

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

import embedshift
from embedshift.statistics.summary import PAPER_METRICS
from support.command import call
from support.comparing import ENCODER_METRICS, A, B, C, moved, variant
from support.studies import compared

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def first(studies):
    return studies[0]


@pytest.fixture(scope="module")
def studies():
    return compared()


@pytest.fixture(scope="module")
def found(studies):
    return embedshift.compare(studies)


def of_metrics(found):
    """The rows of metrics, by augmentation."""
    return found.comparison.filter(pl.col("metric").is_in(PAPER_METRICS), pl.col("augmentation") != "all")


@functools.cache
def rows_of(folder):
    return pq.read_table(folder / "shards").to_pylist()


def values_of(study, name, metric):
    """(image, draw) → value, from the shards."""
    return {(row["image_id"], row["draw"]): row[metric] for row in rows_of(study.folder) if row["view"] == name}


def deviations(pairs, images, resamples):
    """Difference of the means, its standard error, and resamples' deviations in their own errors.

    Args:
        pairs: (image, draw) → own value, the reference's.
        images: In order.
        resamples: How many.
    """
    apart = {
        image: [pairs[image, d][0] - pairs[image, d][1] for d in (0, 1) if (image, d) in pairs] for image in images
    }
    total, n = sum(map(len, apart.values())), len(images)
    mean = sum(map(sum, apart.values())) / total
    each = np.array([mean + (sum(apart[i]) - mean * len(apart[i])) * n / total for i in images])
    error = each.std(ddof=1) / np.sqrt(n)
    drawn = each[np.random.default_rng(3).integers(n, size=(resamples, n))]
    return mean, error, (drawn.mean(axis=1) - mean) / (drawn.std(axis=1, ddof=1) / np.sqrt(n))


def test_differences_and_intervals_equal_a_loop_over_the_same_resamples(studies, found):
    seen, every = set(), {}
    for row in of_metrics(found).iter_rows(named=True):
        name, metric = row["augmentation"], row["metric"]
        all_values = [values_of(study, name, metric) for study in studies]
        images = sorted(set.intersection(*({image for image, _ in values} for values in all_values)))
        assert len(images) == 22
        used = {
            (image, draw): [values[image, draw] for values in all_values]
            for image in images
            for draw in (0, 1)
            if not any(np.isnan(values[image, draw]) for values in all_values)
        }
        other = {B: 1, C: 2}[row["study"]]
        sides = {index: np.array([values[index] for values in used.values()]) for index in (0, other)}
        assert row["n"] == len(used) == (40 if (name, metric) == ("blur", "detail_preservation") else 44)
        assert row["reference"] == A
        assert row["mean"] == pytest.approx(sides[other].mean(), abs=1e-12)
        assert row["reference_mean"] == pytest.approx(sides[0].mean(), abs=1e-12)
        if (metric, other) == ("l2_distance", 2):
            assert [row[name] for name in ("difference", "ci_low", "ci_high", "significant")] == [
                None,
                None,
                None,
                False,
            ]
            continue
        assert row["difference"] == pytest.approx((sides[other] - sides[0]).mean(), abs=1e-12)
        seen.add((name, metric, other))
        if metric not in ENCODER_METRICS:  # of equal views
            assert (row["difference"], row["ci_low"], row["ci_high"], row["significant"]) == (0, 0, 0, False)
            continue
        pairs = {key: (values[other], values[0]) for key, values in used.items()}
        mean, error, t = deviations(pairs, [image for image in images if {(image, 0), (image, 1)} & {*pairs}], 2000)
        ordered = np.sort(t)
        assert row["ci_low"] == pytest.approx(mean - ordered[1950] * error, abs=1e-12)
        assert row["ci_high"] == pytest.approx(mean - ordered[49] * error, abs=1e-12)
        mean, error, t = deviations(pairs, images, 9999)
        every.setdefault((metric, other), {})[name] = np.abs(t)
    assert len(seen) == 5 * 6 * 2 - 5
    significant = set()
    for row in of_metrics(found).filter(pl.col("metric").is_in(ENCODER_METRICS)).drop_nulls("difference").to_dicts():
        name, metric, other = row["augmentation"], row["metric"], {B: 1, C: 2}[row["study"]]
        values = [values_of(study, name, metric) for study in (studies[other], studies[0])]
        pairs = {key: (own, values[1][key]) for key, own in values[0].items() if key in values[1]}
        pairs = {k: v for k, v in pairs.items() if not np.isnan(v).any() and k[0] in images}
        mean, error, _ = deviations(pairs, images, 1)
        critical = np.sort(np.max([*every[metric, other].values()], axis=0))[9499]
        assert row["significant"] == (abs(mean) > critical * error), row
        significant.add(row["significant"])
    assert significant == {True, False}


def test_fewer_than_eight_images_have_no_interval_and_settle_nothing(first, tmp_path, monkeypatch, capsys):
    names = sorted(first.reader().image_ids())
    for left, there in ((8, True), (7, False)):
        other = variant(first, tmp_path / str(left), moved(-0.5, 1), failed=tuple(names[left:]), encoder={"name": "b"})
        rows = of_metrics(embedshift.compare([first, other])).filter(pl.col("metric") == "cosine_similarity")
        assert rows["n"].to_list() == [2 * left] * 5
        assert rows["difference"].null_count() == 0
        assert rows["significant"].to_list() == [there] * 5
        assert rows["ci_low"].null_count() == rows["ci_high"].null_count() == (0 if there else 5)
    done = call(monkeypatch, capsys, "compare", first.folder, tmp_path / "7")
    assert f"{rows['difference'][0]:+#.2g}" in done.out
    assert " to " not in done.out.partition("mean: ")[2]
    embedshift.compare([first, other]).figure("differences")
