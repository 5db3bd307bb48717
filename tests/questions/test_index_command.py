"""`embedshift index` and `study.index`: the table, its sentences and the files that it writes."""

import json
import logging

import numpy as np
import onnxruntime
import pytest
from typer.testing import CliRunner

import embedshift
from embedshift.cli import app
from embedshift.errors import UsageError
from support.command import untouched_logging
from support.mean_colour import MeanColour
from support.models import pictures
from support.overlap import overlaps

pytestmark = pytest.mark.slow

COUNT, DIM = 160, 32
COLUMNS = (
    "index, augmentation, metric, gallery, n, bytes_searched, bytes_stored, value, ci_low, ci_high, difference, "
    "difference_low, difference_high, outcome, needed, recommended"
)


def call(*words):
    with untouched_logging():
        done = CliRunner().invoke(app, [*map(str, words)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    rng = np.random.default_rng(0)
    originals = rng.normal(size=(COUNT, DIM)) + 0.3
    views = {name: originals + size * rng.normal(size=originals.shape) for name, size in (("crop", 0.4), ("blur", 0.8))}
    ids = [f"{place:03d}" for place in range(COUNT)]
    return embedshift.from_vectors(originals, views, ids=ids, out=tmp_path_factory.mktemp("index") / "study")


def test_the_table_has_a_row_for_each_index_change_and_metric(study):
    table = study.index(["whiten+binary", "int8"])
    assert ", ".join(table.columns) == COLUMNS
    assert table["index"].unique(maintain_order=True).to_list() == ["float32", "whiten+binary", "int8"]
    assert table["metric"].unique(maintain_order=True).to_list() == [
        "recall@1", "recall@10", "mrr", "matched@0.001", "neighbours@10",
    ]  # fmt: skip
    assert table.height == 3 * 3 * 5
    assert set(table["gallery"]) == {COUNT // 5}
    sizes = dict(table.select("index", "bytes_searched").unique().iter_rows())
    assert sizes == {"float32": 4 * DIM, "whiten+binary": DIM / 8, "int8": DIM}
    base = table.filter(index="float32", metric="neighbours@10")
    assert base["value"].to_list() == [1.0] * 3
    assert base["difference"].to_list() == [0.0] * 3


def test_the_command_says_what_is_recommended_and_writes_it(study, tmp_path):
    file, graph = tmp_path / "index.npz", tmp_path / "map.onnx"
    margin = ("--recall-margin", 0.2)
    found = json.loads(call("index", study.folder, "int8", "float16", *margin, "--out", file, "--json").stdout)
    assert found["recommended"] == "int8"
    assert found["sentences"][0].startswith(
        "Recommended: int8, 32 bytes an image to search in place of 128: within 20 p"
    )
    index = embedshift.SearchIndex.load(file)
    assert (index.name, index.dim) == ("int8", DIM)
    words = call("index", study.folder, "whiten+first-1/4+binary", "--out", file, "--onnx", graph).stdout
    assert f"Written: {file}, {graph}, the index whiten+first-1/4+binary." in words
    vectors = np.random.default_rng(1).normal(size=(20, DIM)).astype(np.float32)
    mapped = onnxruntime.InferenceSession(str(graph)).run(None, {"embeddings": vectors})[0]
    np.testing.assert_allclose(mapped, embedshift.SearchIndex.load(file).query(vectors), atol=1e-5)


def test_images_of_the_gallery_that_have_the_direction_of_an_original_are_left_out(study, tmp_path, caplog):
    rng = np.random.default_rng(0)
    originals = (rng.normal(size=(COUNT, DIM)) + 0.3).astype(np.float32)
    others = np.random.default_rng(5).normal(size=(50, DIM)).astype(np.float32)
    np.save(tmp_path / "gallery.npy", np.concatenate([2 * originals, others]))
    with caplog.at_level(logging.INFO):
        table = study.index(["int8"], gallery=str(tmp_path / "gallery.npy"))
    assert "160 images of the gallery are also in the study; skipping them in the gallery" in caplog.text
    assert set(table["gallery"]) == {COUNT // 5 + 50}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("binary+whiten", "whiten comes after binary"),
        ("int9", "no part 'int9'"),
        ("pca-99", "the vectors have 32 numbers"),
        ("rescore", "`rescore` takes its candidates by a code"),
    ],
)
def test_a_name_that_is_no_index_is_one_line(study, name, words):
    with pytest.raises(UsageError, match=words) as error:
        study.index([name])
    assert "\n" not in str(error.value)


def test_a_study_of_originals_alone_fits_no_index(tmp_path):
    images = pictures(tmp_path / "images", 9)
    study = embedshift.run(images, out=tmp_path / "study", model=MeanColour(), augmentations="none", workers=0)
    with pytest.raises(UsageError, match="has no changes, and an index is fitted to views"):
        embedshift.fit_index(study, "int8", out=tmp_path / "index.npz")


def test_the_figure_has_no_words_over_one_another_and_the_page_a_section(study, tmp_path):
    embedshift.load(study.folder).index(None)
    assert overlaps(study.figure("index")) == []
    page = study.report(figures=["index"]).read_text()
    assert 'id="index"' in page
    assert "Which index may a store keep?" in page
