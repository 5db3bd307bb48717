"""The table `codes`, its sentences and its command: on vectors whose truth is known."""

import json
import math
import re

import numpy as np
import polars as pl
import pytest
from scipy import stats

import embedshift
from embedshift import EmbedshiftError
from embedshift.questions.codes.coded import recommended, summary, verdicts
from embedshift.statistics.coded_search import METRICS, evaluate
from embedshift.statistics.codes import Ranges
from embedshift.statistics.equivalence import Margins, of_recall
from embedshift.statistics.judged import Split, judge
from embedshift.statistics.retrieval import Gallery
from embedshift.statistics.vectors import normalised_float32
from support.command import call

pytestmark = pytest.mark.slow

COUNT, DIM = 200, 32
IDS = [f"{place:03d}" for place in range(COUNT)]
COLUMNS = [
    "code", "augmentation", "metric", "n", "bytes_searched", "bytes_stored", "value", "ci_low", "ci_high", "difference",
    "difference_low", "difference_high", "outside",
]  # fmt: skip


def vectors(seed=0, count=COUNT, strength=(0.5, 1.1)):
    rng = np.random.default_rng(seed)
    originals = rng.normal(size=(count, DIM)) * np.linspace(0.3, 2, DIM) + 0.4
    return originals, {
        name: originals + s * rng.normal(size=originals.shape)
        for name, s in zip(("crop", "blur"), strength, strict=True)
    }


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    originals, views = vectors()
    return embedshift.from_vectors(originals, views, ids=IDS, out=tmp_path_factory.mktemp("codes") / "study")


@pytest.fixture(scope="module")
def table(study):
    return study.codes()


def test_it_has_a_row_for_each_code_change_and_metric_with_paired_intervals(study, table):
    assert table.columns[:13] == COLUMNS
    names = table["code"].unique(maintain_order=True).to_list()
    assert names[0] == "float32"
    assert len(names) >= 8
    assert table.height == len(names) * 3 * len(METRICS)
    ids = study.reader().ordered_ids()
    originals, views = vectors()
    order = [IDS.index(name) for name in ids]
    stacked = np.stack(
        [normalised_float32(views[name][order].astype(np.float32)) for name in study.augmentations], axis=1
    )[:, None]
    split = Split.of(np.arange(COUNT), {name: name for name in study.augmentations})
    gallery = Gallery.of(normalised_float32(originals[order].astype(np.float32)))
    found = dict(evaluate(["float32", "binary"], gallery, stacked, split))
    counts = judge(
        found["float32"].outcomes["recall@1"], found["binary"].outcomes["recall@1"], seed=study.info()["config"]["seed"]
    )
    low, high = counts.interval()
    for place, name in enumerate([*study.augmentations, "all"]):
        row = table.filter(code="binary", augmentation=name, metric="recall@1").row(0, named=True)
        values = [row[column] for column in ("value", "difference", "difference_low", "difference_high")]
        assert values == pytest.approx([counts.value[place], counts.difference[place], low[place], high[place]])
        decided = of_recall(counts.only(place), Margins(recall=0.01))
        assert (row["outcome"], row["needed"], row["least"]) == (
            decided.outcome,
            decided.needed,
            pytest.approx(decided.low),
        )
    zero = table.filter(pl.col("code") == "float32", pl.col("metric") != "lead")
    assert zero["difference"].to_list() == [0.0] * zero.height
    lead = table.filter(code="int8", metric="lead", augmentation="crop").row(0, named=True)
    assert lead["ci_low"] < lead["value"] < lead["ci_high"]
    assert lead["difference"] is None


@pytest.mark.matrix  # they are those of `judge`, of which tests/statistics/test_judged.py counts how often they hold
def test_intervals_of_losses_hold_the_truth():
    """Worlds of which a fresh sample of 4,000 images, in galleries of equal size, gives the true loss."""
    rng, held, count = np.random.default_rng(3), 0, 60

    def gains(images, seed):
        originals, views = vectors(seed, images)
        unit_originals = normalised_float32(originals.astype(np.float32))
        stacked = normalised_float32(views["blur"].astype(np.float32))[:, None, None]
        split = Split.of(np.arange(images), {"blur": "blur"})
        found = dict(evaluate(["float32", "truncated-8"], Gallery.of(unit_originals), stacked, split))
        return found["float32"].outcomes["recall@1"], found["truncated-8"].outcomes["recall@1"]

    true = np.mean([np.subtract(*(each.values.mean() for each in gains(count, 1_000 + k)[::-1])) for k in range(60)])
    for _ in range(100):
        low, high = judge(*gains(count, int(rng.integers(1e6))), seed=0).interval()
        held += low[0] <= true <= high[0]
    assert stats.binomtest(held, 100).proportion_ci(0.95).high >= 0.93


def test_the_recommended_code_has_the_fewest_bytes_of_those_within_the_margin(table):
    found = verdicts(table)
    within = [each for each in found[1:] if each.is_within and not each.is_easy]
    best = recommended(found)
    for each in found[1:]:
        rows = table.filter(pl.col("augmentation") != "all", code=each.code, metric="recall@1")
        assert each.is_within == all(outcome in ("equivalent", "not worse") for outcome in rows["outcome"])
        assert each.lost == pytest.approx(max(0.0, -rows["difference"].min()))
        assert each.at_worst == pytest.approx(max(0.0, -rows["least"].min()))
    assert best is None or best.searched == min(each.searched for each in within)


def test_sentences_are_true_to_the_intervals(table):
    for each in verdicts(table)[1:]:
        words = each.sentence(f"{COUNT} images", "image", 0.01)
        limit = f"at worst {100 * each.at_worst:.1f}"
        assert words.startswith(f"{each.code}: ")
        assert ("within 1 point under every change" in words) == each.is_within
        assert ("more than 1 point" in words) == each.is_beyond
        assert ("no loss seen in 200 images" in words) == (each.lost < 5e-5)
        if not each.is_beyond:
            assert limit in words
        if not each.is_within and not each.is_beyond:
            assert ("would confirm that" in words) == (each.lost > 0.01)
            if needed := re.search(r"about ([\d,]+) images", words):
                wanted = each.needed[each.worst] if each.lost > 0.01 else max(each.needed.values())
                assert float(needed[1].replace(",", "")) == pytest.approx(wanted, rel=0.05)
                assert wanted > COUNT


def test_no_loss_in_few_images_says_how_many_a_margin_takes(tmp_path):
    originals, views = vectors(count=100, strength=(0.01, 0.02))
    study = embedshift.from_vectors(originals, views, ids=IDS[:100], out=tmp_path / "study")
    table = study.codes(codes=["int8"])
    none = table.filter(metric="matched@0.001")  # a rate that takes 142 images
    assert none["n"].to_list() == [0] * 6
    assert none["value"].null_count() == none["difference"].null_count() == 6
    _, verdict = verdicts(table)
    # Tango's one-sided end where nothing differs: z² / (n + z²).
    z2 = stats.norm.isf(0.05) ** 2
    assert 100 * verdict.at_worst == pytest.approx(100 * z2 / (100 + z2), abs=0.05)
    words = verdict.sentence("100 images", "image", 0.01)
    assert (
        words
        == "int8: no loss seen in 100 images (0.0 points, at worst 2.6); a margin of 1 point needs about 270 images."
    )


def test_candidates_that_are_most_of_a_gallery_are_not_recommended(tmp_path):
    originals, views = vectors(count=280, strength=(0.01, 0.02))
    ids = [f"{place:03d}" for place in range(280)]
    study = embedshift.from_vectors(originals, views, ids=ids, out=tmp_path / "study")
    found = verdicts(study.codes(codes=["binary+rescore", "int8"]))
    assert [each.is_within for each in found] == [True] * 3
    assert recommended(found).code == "int8"
    lines = [*summary(found, study.reader(), 0.01)]
    assert lines[0].startswith("Recommended in a search among 280: int8, 32 bytes a vector to search, 32 to store.")
    assert lines[1] == "float32 finds all: this gallery is too small to tell codes apart."
    assert lines[2].endswith("Its candidates are a large part of this gallery: more vectors would lose more.")


def test_groups_are_one_image_and_a_gallery_is_searched_too(tmp_path, caplog):
    originals, views = vectors()
    study = embedshift.from_vectors(
        originals, views, ids=IDS, out=tmp_path / "study", groups=[f"g{k // 4}" for k in range(COUNT)]
    )
    grouped = study.codes(codes="binary")
    rng = np.random.default_rng(1)
    np.save(tmp_path / "gallery.npy", (rng.normal(size=(700, DIM)) * np.linspace(0.3, 2, DIM) + 0.4).astype(np.float32))
    more = study.codes(codes="binary", gallery=str(tmp_path / "gallery.npy"))
    for each in (grouped, more):
        assert each.filter(code="float32", metric="recall@1", augmentation="all")["difference"].item() == 0
    recall = [
        each.filter(code="float32", metric="recall@1", augmentation="blur")["value"].item() for each in (grouped, more)
    ]
    assert recall[1] < recall[0]
    row = grouped.filter(code="binary", metric="recall@1", augmentation="blur").row(0, named=True)
    assert row["difference_low"] < row["difference"] < row["difference_high"]
    assert study.codes().equals(more), "kept"
    (tmp_path / "gallery.npy").rename(tmp_path / "moved.npy")
    study.report(figures=[])
    assert study.codes().equals(grouped)
    assert caplog.text.count("`gallery` of its table `codes` has moved or is gone; made without") == 1


def test_rules_of_check_may_be_about_it(study, table, tmp_path):
    rules = tmp_path / "rules.yaml"
    rules.write_text("rules:\n  - {table: codes, code: int8, augmentation: crop, metric: recall@1, at_least: -0.5}\n")
    study.codes()
    checked = embedshift.check(study, rules)
    assert [result.outcome for result in checked.results] == ["kept"]


def test_the_command_recommends_writes_ranges_and_keeps_its_choice(study, tmp_path, monkeypatch, capsys):
    ranges = tmp_path / "ranges.json"
    done = call(monkeypatch, capsys, "codes", study.folder, "--codes", "int8,binary-centred", "--out", ranges)
    assert done.code == 0
    assert re.search(r"Recommended in a search among 200: \w|No code is within 1 point under every change", done.out)
    assert "int8: " in done.out
    content = json.loads(ranges.read_text())
    given = normalised_float32(vectors()[0].astype(np.float32))
    assert content["low"] == pytest.approx(Ranges.of(given).low.tolist(), abs=1e-6)
    assert content["mean"] == pytest.approx(given.mean(axis=0).tolist(), abs=1e-6)
    wide = json.loads(call(monkeypatch, capsys, "codes", study.folder, "--recall-margin", "0.3", "--json").out)
    assert wide["recommended"] == recommended(verdicts(study.table("codes"))).code
    assert any("within 30 points under every change" in line for line in wide["sentences"])
    call(monkeypatch, capsys, "codes", study.folder, "--codes", "int8,binary-centred")
    found = json.loads(call(monkeypatch, capsys, "codes", study.folder, "--json").out)
    assert {row["code"] for row in found["codes"]} == {"float32", "int8", "binary-centred"}
    assert len(found["sentences"]) >= 3
    page = " ".join(study.report(figures=["codes"]).read_text().split())
    assert "What may a store keep of the vectors?" in page
    assert found["sentences"][0].split(".")[0] in page
    for arguments, words in (
        (("--codes", "int3"), "no code 'int3'"),
        (("--codes", "pq-7"), "M must divide the 32 numbers"),
        (("--codes", "pca-64"), "embeddings have 32 numbers"),
        (("--gallery", tmp_path / "none.npy"), "none.npy"),
        (("--recall-margin", "2"), "give a number above 0 and below 1"),
    ):
        refused = call(monkeypatch, capsys, "codes", study.folder, *arguments)
        assert (refused.code, words in refused.line) == (2, True)


def test_what_cannot_be_tried_is_one_line(tmp_path, monkeypatch, capsys, caplog):
    originals, views = vectors(count=60)
    study = embedshift.from_vectors(originals, views, ids=IDS[:60], out=tmp_path / "few")
    names = study.codes(codes="pca-31,pq-4,pca-100" if DIM > 100 else "pca-31,pq-4")["code"].unique().to_list()
    assert sorted(names) == ["float32", "pca-31"]
    assert "pq-4 is left out: it is fitted to 256 originals or more, and there are 48" in caplog.text
    one = embedshift.from_vectors(originals[:2], {"crop": originals[:2]}, ids=IDS[:2], out=tmp_path / "one")
    done = call(monkeypatch, capsys, "codes", one.folder)
    assert (done.code, done.line) == (2, f"error: {one.folder}: has 2 of the 4 images that this needs; measure more")
    constant = embedshift.from_vectors(
        np.ones((20, 4)), {"crop": np.ones((20, 4))}, ids=IDS[:20], out=tmp_path / "constant"
    )
    assert constant.codes(codes="int8")["difference"].drop_nulls().to_list().count(0.0) > 0
    bare = embedshift.from_vectors(originals, views, ids=IDS[:60], out=tmp_path / "bare", store="metrics")
    with pytest.raises(EmbedshiftError, match="`store` all"):
        bare.codes()
    monkeypatch.setitem(__import__("sys").modules, "faiss", None)
    with pytest.raises(EmbedshiftError, match="needs the extra 'search'"):
        study.codes(codes="hnsw")
    assert math.isfinite(study.codes(codes="int8")["value"][0])
