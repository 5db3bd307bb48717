"""Corners of a run that a user can get into: odd folders, settings that contradict, encoders that give too little."""

import contextlib
import shutil
from pathlib import Path

import numpy as np
import pytest

import embedshift
from embedshift import EmbedshiftError
from embedshift.errors import UsageError
from embedshift.store.info import write_content
from support import studies
from support.models import Colours

pytestmark = pytest.mark.slow

MIRROR = {"mirror": lambda image, rng: image[:, ::-1]}


class Forgets(Colours):
    """Says that it can be observed, and gives nothing more."""

    def observing(self, names):
        return contextlib.nullcontext()


@pytest.fixture
def photos(tmp_path):
    return shutil.copytree(studies.pictures(3), tmp_path / "photos")


def test_the_folder_of_the_images_is_no_place_for_the_study(photos, monkeypatch, cli):
    before = sorted(path.name for path in photos.iterdir())
    with pytest.raises(EmbedshiftError, match="is the folder of the images; choose another `out`") as caught:
        embedshift.run(photos, out=photos, model=Colours(), workers=0)
    assert caught.value.exit_code == 2
    assert sorted(path.name for path in photos.iterdir()) == before
    monkeypatch.chdir(photos)
    done = cli("run", ".", "--dry-run", "--model", studies.checkpoint("clip"))
    assert (done.code, "images: 3" in done.out) == (0, True), done.err


@pytest.mark.parametrize("out", ["", "s3://bucket/study", Path("s3://bucket/study"), "a\0b"])
def test_what_is_no_path_of_an_output_is_refused_before_anything_is_written(out, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    vectors = np.eye(4)
    calls = [
        lambda: embedshift.run(photos, out=out, model=Colours(), augmentations=MIRROR, workers=0),
        lambda: embedshift.from_vectors(vectors, {"a": vectors}, out=out),
        lambda: embedshift.write_views(photos, out=out, augmentations=MIRROR, workers=0),
    ]
    for call in calls:
        with pytest.raises(EmbedshiftError, match=r"^`out`"):
            call()
    assert [*tmp_path.iterdir()] == [photos]


@pytest.mark.parametrize(
    ("name", "value"), [("size", 64), ("precision", "float32"), ("device", "auto"), ("embedding", "cls")]
)
def test_a_setting_of_a_loaded_encoder_is_refused_even_where_it_is_the_default(photos, tmp_path, name, value):
    with pytest.raises(EmbedshiftError, match=f"^{name}: colours is already loaded") as caught:
        embedshift.run(photos, out=tmp_path / "study", model=Colours(), **{name: value})
    assert caught.value.exit_code == 2


def test_an_encoder_that_gives_less_than_it_says_is_one_line(photos, tmp_path):
    with pytest.raises(EmbedshiftError, match="colours gives no layers") as caught:
        embedshift.run(photos, out=tmp_path / "study", model=Forgets(), workers=0, layers=True)
    assert caught.value.exit_code == 2


def test_a_wrong_tree_is_refused_before_anything_is_computed(tmp_path, monkeypatch, cli):
    study = studies.copied(studies.plain(), tmp_path / "study")
    monkeypatch.setattr("embedshift.store.tables.summary", lambda *_, **__: pytest.fail("it was computed"))
    refused = cli("report", study.folder, "--linkage", "word")
    words = "unknown linkage 'word'; did you mean 'ward'? Known: ward, average, complete, single"
    assert (refused.code, refused.line) == (2, f"error: {words}")
    refused = cli("report", study.folder, "--clusters-on", "means", "--pdist-metric", "x")
    assert "pdist metric 'x': " in refused.line


def test_what_is_not_finished_or_not_there_is_one_line_that_names_the_study(tmp_path, cli):
    study = studies.copied(studies.plain(), tmp_path / "a")
    with pytest.raises(UsageError, match=r"no table 'nonsense' here; it has .*summary"):
        study.table("nonsense")
    write_content(study.folder, study.info() | {"complete": False})
    unfinished = r"a: not finished; let its run end, or run the same command again first"
    with pytest.raises(UsageError, match=unfinished):
        study.card()
    done = cli("check", study.folder, "--init", "--rules", tmp_path / "rules.yaml")
    assert (done.code, unfinished in done.line) == (2, True)
    assert not (tmp_path / "rules.yaml").exists()
    (study.folder / "tables" / "summary.parquet").unlink()
    with pytest.raises(UsageError, match=r"not finished, no table 'summary' yet; run the same command again"):
        embedshift.load(study.folder).summary()
