"""`embedshift whiten`: what it prints and writes; and `--whiten` of other commands."""

import json

import numpy as np
import polars as pl
import pytest

import embedshift
from embedshift.figures import FigureInput
from embedshift.registry import QUESTIONS
from embedshift.report import page
from embedshift.report.section import PageInput
from embedshift.statistics.whitening import sentences
from support.graded import DARKER, graded
from support.synthetic import make_study

NAMES = ("noise", "blur", "horizontal_flip")


@pytest.fixture
def study(tmp_path):
    return make_study(tmp_path / "study", 40, NAMES, dim=6)


def html_of(study):
    reader = study.reader()
    made = QUESTIONS["whitening"].part("section").section(PageInput(FigureInput(reader), "CLIP", {}, reader.records))
    return str(page.fill("whitening/section.html.j2", made.content))


def test_it_prints_the_table_a_recommendation_and_lines_that_apply_the_file(cli, study, tmp_path):
    out = tmp_path / "map.npz"
    done = cli("whiten", study.folder, "--out", out, "--onnx", tmp_path / "map.onnx", "--map", "originals")
    assert done.code == 0, done.err
    table = study.whitening()
    for row in table.filter(metric="recall@1", augmentation="all").iter_rows(named=True):
        assert f"{row['after']:.3f}{'' if row['ci_low'] <= 0 <= row['ci_high'] else '*'} " in done.out
    assert next(line.split()[1] for line in done.out.splitlines() if line.strip().startswith("recall@1")) == "8"
    assert "no groups" in done.out
    chosen = table.filter("recommended", augmentation="all", metric="recall@1").to_dicts()
    assert ("No map helps" in done.out) == (not chosen)
    if chosen:
        assert f"Recommended for copies of an image: {chosen[0]['map']}, recall@1 among 8 images" in done.out
    vectors = study.rows().select("embedding").collect()["embedding"].to_numpy()
    lines = [line.strip() for line in done.out.splitlines() if line.strip().startswith(("file =", "x ="))]
    assert len(lines) == 3
    names = {"np": np, "vectors": vectors}
    exec("\n".join(lines), names)
    assert np.abs(names["x"] - embedshift.Whitening.load(out)(vectors)).max() < 1e-5
    assert (tmp_path / "map.onnx").is_file()
    content = json.loads(cli("whiten", study.folder, "--out", out, "--map", "centred", "--json").out)
    assert content["written"] == embedshift.Whitening.load(out).name == "centred"
    assert content["whitening"] == {str(study.folder): table.to_dicts()}


def test_the_table_is_made_on_request_and_kept_by_a_report(cli, study, tmp_path):
    assert "whitening" not in study.table_names
    assert "embedshift whiten DIR --out map.npz" in html_of(study)
    assert cli("whiten", study.folder, "--out", tmp_path / "map.npz").code == 0
    file = study.folder / "tables" / "whitening.parquet"
    written = file.stat().st_mtime_ns
    assert study.whitening().equals(study.table("whitening"))
    assert file.stat().st_mtime_ns == written
    html = html_of(study)
    row = study.whitening().filter(map="shifts", augmentation="all", metric="mrr").to_dicts()[0]
    assert f"{row['after']:.3f}" in html
    assert ("No map helps: among 8 images" in html) == (not study.whitening()["recommended"].any())
    assert '<td class="number">8</td>' in html


def test_a_map_that_is_not_recommended_is_not_written(cli, tmp_path):
    study = make_study(tmp_path / "few", 12, ["noise"], dim=6)
    assert not study.whitening()["recommended"].any()
    done = cli("whiten", study.folder, "--out", tmp_path / "map.npz")
    assert done.code == 0
    assert "No map helps" in done.out
    assert "Nothing was written; `--map NAME` writes a map all the same." in done.out
    assert not (tmp_path / "map.npz").exists()
    content = json.loads(cli("whiten", study.folder, "--out", tmp_path / "map.npz", "--json").out)
    assert (content["map"], content["written"], content["recommended"]) == (None, None, None)


def test_a_map_that_was_not_tried_is_named_so(cli, tmp_path):
    study = make_study(tmp_path / "one", 12, ["noise"], dim=6)
    done = cli("whiten", study.folder, "--out", tmp_path / "map.npz", "--map", "shifts")
    assert "The map 'shifts' was not tried: that takes a second family of augmentations." in done.out
    (tmp_path / "map.npz").write_text("map")
    done = cli("search", study.folder, "--whiten", tmp_path / "map.npz")
    assert (done.code, "no map of `embedshift whiten`" in done.line) == (2, True)


def test_groups_are_chosen_and_named(cli, study, tmp_path):
    lines = [f"{name},{place // 2}" for place, name in enumerate(study.reader().ordered_ids())]
    (tmp_path / "pairs.csv").write_text("\n".join(["image_id,group", *lines]))
    done = cli(
        "whiten", study.folder, "--out", tmp_path / "m.npz", "--map", "centred", "--groups", tmp_path / "pairs.csv"
    )
    assert "pairs.csv groups, 20" in " ".join(done.out.split())
    assert "class_agreement" in done.out
    assert set(study.whitening().filter(metric="recall@1")["gallery"]) == {7}


def sentences_of(recommended, low, *, images=40, groups=None, tried=None):
    """The sentences about a table of one map, whose metrics rise from .5 to .75."""
    rows = [
        {"map": "originals", "augmentation": "all", "metric": metric, "gallery": 8, "before": 0.5, "after": 0.75,
         "difference": 0.25, "ci_low": low, "ci_high": 0.30001, "recommended": recommended}
        for metric in ("recall@1", "class_agreement", "fitted_neighbours@10")
    ]  # fmt: skip
    return " ".join(sentences(pl.DataFrame(rows), images, tried or images, 40, groups))


def test_sentences_name_the_use_and_warn_of_few_images():
    copies = "Recommended for copies of an image: originals, recall@1 among 8 images 0.500 → 0.750, +0.250"
    assert sentences_of(True, 0.1019) == (
        f"{copies} [+0.101 to +0.301]. Not recommended for similar images: no groups say which images are similar."
    )
    assert "Recommended for similar images, too" in sentences_of(True, 0.1, groups="folder")
    assert "Not recommended for similar images: the nearest" in sentences_of(True, -0.1, groups="folder")
    assert "no groups say" in sentences_of(True, 0.1, groups="near")
    assert "among 8 images (30 of 40 images are tried) 0.500 → 0.750" in sentences_of(True, 0.1, tried=30)
    few = sentences_of(False, -0.1, images=39)
    assert few.startswith("No map helps: among 8 images none finds significantly more originals")
    assert "39 images are fewer than an embedding's 40 dimensions" in few
    assert "0.500 of the nearest images of their original as they are, 0.750 with originals." in few


@pytest.mark.slow
def test_families_are_shown_by_their_mean(tmp_path):
    study = make_study(tmp_path / "study", 20, graded(DARKER), dim=6)
    table = study.whitening()
    html = html_of(study)
    assert "recall@1 by family, mean over levels" in html
    assert len(set(table["augmentation"])) > 2
    rows = table.filter(map="originals", metric="recall@1").remove(augmentation="all")
    assert "<bdi>darker</bdi>" in html
    assert f'<td class="number">{rows["before"].mean():.3f}</td>' in html
    assert "darker@" not in html


@pytest.mark.slow
def test_search_with_a_map_writes_nothing_and_compare_sets_a_study_against_itself(cli, study, tmp_path):
    of_map = ("--whiten", tmp_path / "map.npz")
    embedshift.whiten(study, map="shifts", out=tmp_path / "map.npz")
    plain = json.loads(cli("search", study.folder, "--json").out)["search"]
    before = {path: path.stat().st_mtime_ns for path in study.folder.rglob("*")}
    assert json.loads(cli("search", study.folder, "--json", *of_map).out)["search"] != plain
    assert "nothing was written" in cli("search", study.folder, *of_map).out
    assert {path: path.stat().st_mtime_ns for path in study.folder.rglob("*")} == before
    done = cli("compare", study.folder, *of_map)
    assert done.code == 0, done.err
    assert "(float32, whitened) moves" in done.out
    assert "relative shifts are of two spaces: compare what a search finds" in done.out
