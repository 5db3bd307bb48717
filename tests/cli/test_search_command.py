"""`embedshift search`: what it prints, its exit codes, and what stays for a report."""

import json
import math

import numpy as np
import pytest

import embedshift
from support.graded import DARKER, graded
from support.revised import without_vectors
from support.synthetic import make_study

NAMES = ("noise", "blur", "horizontal_flip")


@pytest.fixture
def study(tmp_path):
    return make_study(tmp_path / "study", 40, NAMES, dim=6)


@pytest.mark.slow
def test_it_prints_recall_the_least_found_first_and_thresholds(cli, study):
    done = cli("search", study.folder)
    assert done.code == 0
    rows = [line.split() for line in done.out.splitlines() if line.split() and line.split()[0] in NAMES]
    recall = dict(study.search().filter(metric="recall@1").select("augmentation", "value").iter_rows())
    assert [row[0] for row in rows] == sorted(NAMES, key=recall.__getitem__)
    assert [row[1] for row in rows] == [f"{recall[row[0]]:.3f}" for row in rows]
    assert "search among 40 originals" in done.out
    chance = next(line.split() for line in done.out.splitlines() if "by chance" in line)
    assert chance == ["by", "chance", "0.025", "0.125", "0.250"]
    assert study.thresholds().is_empty()
    assert "No thresholds for duplicates: 40 images cannot give enough pairs for the default rates." in done.out
    assert "thresholds by false-match rate" not in done.out
    done = cli("search", study.folder, "--false-match-rate", "0.1,0.02")
    table = study.thresholds()
    assert table["false_match_rate"].to_list() == [0.1, 0.02]
    for value in table["threshold"]:
        assert f"{value:.4f}" in done.out
    assert study.duplicates().is_empty()
    assert "No duplicates found: no two images have embeddings so near that 1 such pair" in done.out
    for words in ("thresholds by false-match rate", "Predicted recall@1 among 200 images:"):
        assert words in done.out
    found = json.loads(cli("search", study.folder, "--json").out)
    assert found["search"] == study.search().to_dicts()
    assert {*found} == {"study", "search", "thresholds", "matches", "gallery_sizes", "duplicates"}


def test_equal_ends_are_counted_and_not_one_of_them_named_alone(cli, tmp_path):
    originals = np.random.default_rng(0).normal(size=(32, 8))
    moved = {"noise": 24, "blur": 0, "flip": 16, "elastic": 0, "crop": 0}  # so many vectors are turned round
    views = {name: np.concatenate([-originals[:count], originals[count:]]) for name, count in moved.items()}
    study = embedshift.from_vectors(originals, views, out=tmp_path / "study")
    printed = cli("search", study.folder, "--false-match-rate", "0.05").out
    row = study.table("thresholds").row(0, named=True)
    low, high = math.floor(1e4 * row["ci_low"]) / 1e4, math.ceil(1e4 * row["ci_high"]) / 1e4
    ends = f"{row['threshold']:.4f}  {low:.4f} to {high:.4f}"
    cells = ["0.05", ends, "0.250 noise", "1.000 blur and 2 more"]
    assert " ".join(cells).split() in [line.split() for line in printed.splitlines()]


def test_the_nearest_pairs_are_printed_by_group(cli, study):
    done = cli("search", study.folder, "--threshold", "0.5")
    pairs = study.duplicates()
    assert len(pairs) > 10
    together, images = pairs["group"].n_unique(), len({*pairs["image_id"], *pairs["other"]})
    assert together == 1
    assert f"{len(pairs)} pairs in 1 group of {images} images, with a cosine of 0.5" in done.out
    assert [line.split()[-2:] for line in done.out.splitlines() if line.startswith("  group ")] == [
        [*row] for row in pairs.head(10).select("image_id", "other").rows()
    ]
    assert f"and {len(pairs) - 10} more" in done.out
    assert cli("search", study.folder, "--expected-false", "1").code == 0
    assert study.duplicates().is_empty()


@pytest.mark.slow
def test_queries_and_gallery_and_the_tolerance_that_follows(cli, study, tmp_path):
    np.save(tmp_path / "more.npy", np.random.default_rng(1).normal(size=(500, 6)).astype(np.float32))
    done = cli("search", study.folder, "--queries", "12", "--gallery", tmp_path / "more.npy")
    assert "search among 540 originals with 12 views of each augmentation" in done.out
    assert study.search_ranks()["image_id"].n_unique() == 12
    study = make_study(tmp_path / "graded", 40, graded(DARKER))
    before = study.tolerance().filter(criterion="missed 5 %")["value"][0]
    np.save(tmp_path / "more.npy", np.random.default_rng(0).normal(size=(20_000, 8)).astype(np.float32))
    cli("search", study.folder, "--gallery", tmp_path / "more.npy")
    assert study.tolerance().filter(criterion="missed 5 %")["value"][0] < before


def test_mistakes_are_one_line(cli, study, tmp_path):
    without = make_study(tmp_path / "without", 12, NAMES, dim=6, with_tables=False)
    without_vectors(without)
    for folder, flags, words in (
        (study.folder, "--queries some", "--queries: give a number of at least 1, or all; not 'some'"),
        (study.folder, "--false-match-rate 0.000001", "--false-match-rate 1e-06 needs"),
        (study.folder, "--gallery nowhere", "--gallery: nowhere: No such file or directory"),
        (study.folder, "--threshold 2", "--threshold"),
        (study.folder, "--expected-false 0", "--expected-false"),
        (study.folder, "--threshold 0.9 --expected-false 2", "--threshold"),
        (without.folder, "", "no search here: it needs stored embeddings: run it with --store all"),
        (tmp_path / "nothing", "", "no study"),
    ):
        done = cli("search", folder, *flags.split())
        assert (done.code, words in done.line) == (2, True), done.err
