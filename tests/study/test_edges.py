"""Corners of a run that a user can get into: odd folders, settings that contradict, encoders that give nothing."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from albumentations.core.transforms_interface import ImageOnlyTransform
from PIL import Image

import embedshift
from embedshift import EmbedshiftError
from embedshift.augmentations import load_suite, rebuild_suite
from embedshift.encoders import EncoderOutput
from support.synthetic import make_study

pytestmark = pytest.mark.slow


class Constant:
    """An encoder that gives one vector, whatever it sees."""

    name, dim, grid, size = "constant", 2, None, 32
    mean = std = (0.5, 0.5, 0.5)
    weights_hash = "constant"

    def __init__(self, value=1.0):
        self.value = value

    def __call__(self, views):
        return EncoderOutput(np.full((len(views), 2), self.value, np.float32), None, None)


@pytest.fixture
def photos(tmp_path):
    (tmp_path / "photos").mkdir()
    rng = np.random.default_rng(0)
    for number in range(3):
        pixels = rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{number}.png")
    return tmp_path / "photos"


@pytest.mark.matrix
def test_a_folder_with_brackets_is_no_pattern(photos, tmp_path):
    study = embedshift.run(photos, out=tmp_path / "study [v2]*", model=Constant(), workers=0)
    assert study.summary()["n"].max() == 3
    assert len(study.rows().collect()) == 30
    assert study.failures().is_empty()


def test_the_folder_of_the_images_is_no_place_for_the_study(photos):
    with pytest.raises(EmbedshiftError, match="is the folder of the images; choose another `out`") as caught:
        embedshift.run(photos, out=photos, model=Constant(), workers=0)
    assert caught.value.exit_code == 2
    assert sorted(path.name for path in photos.iterdir()) == ["0.png", "1.png", "2.png"]


@pytest.mark.parametrize("out", ["", "s3://bucket/study", Path("s3://bucket/study"), "a\0b"])
def test_what_is_no_path_of_an_output_is_refused_before_anything_is_written(out, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    vectors, mirror = np.eye(4), {"mirror": lambda image, rng: image[:, ::-1]}
    calls = [
        lambda: embedshift.run(photos, out=out, model=Constant(), augmentations=mirror, workers=0),
        lambda: embedshift.from_vectors(vectors, {"a": vectors}, out=out),
        lambda: embedshift.write_views(photos, out=out, augmentations=mirror, workers=0),
    ]
    for call in calls:
        with pytest.raises(EmbedshiftError, match=r"^`out`"):
            call()
    assert [*tmp_path.iterdir()] == [photos]


@pytest.mark.parametrize("setting", [{"size": 64}, {"precision": "bfloat16"}, {"device": "cpu"}, {"embedding": "cls"}])
def test_settings_of_an_encoder_that_is_loaded_already_are_refused(photos, tmp_path, setting):
    with pytest.raises(EmbedshiftError, match=f"^{next(iter(setting))}: constant is already loaded") as caught:
        embedshift.run(photos, out=tmp_path / "study", model=Constant(), **setting)
    assert caught.value.exit_code == 2


def test_an_encoder_of_zeros_measures_nothing(photos, tmp_path):
    with pytest.raises(EmbedshiftError, match=r"all 3 failed, .* zero vector, which has no direction"):
        embedshift.run(photos, out=tmp_path / "study", model=Constant(0.0), workers=0)


def test_failures_are_those_of_the_shards_where_their_file_is_gone(photos, tmp_path):
    (photos / "broken.png").write_bytes(b"no picture")
    study = embedshift.run(photos, out=tmp_path / "study", model=Constant(), workers=0, shard_size=2)
    path = study.folder / "failures.parquet"
    content = study.failures()
    assert content["image_id"].to_list() == ["broken.png"]
    path.unlink()
    assert study.failures().equals(content)
    assert not path.exists(), "reading writes nothing"


class OfTheUsersOwn(ImageOnlyTransform):
    """An albumentations transform that only this program knows."""

    def apply(self, image, **_):
        return 255 - image


@pytest.mark.matrix
def test_a_class_of_the_users_own_is_left_out_where_it_is_not_known(tmp_path):
    description = load_suite({"mine": OfTheUsersOwn(p=1)}).describe()
    program = (
        "import json, sys; from embedshift.augmentations import rebuild_suite; "
        "print(rebuild_suite(json.loads(sys.argv[1])))"
    )
    command = [sys.executable, "-c", program, json.dumps(description)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "None"
    assert rebuild_suite({"mine": {"callable": "x", "text_hash": "y"}}) is None


@pytest.mark.matrix
def test_a_report_without_pictures_takes_earlier_pictures_away(tmp_path):
    study = make_study(tmp_path / "study", 4, ["noise"], with_pictures=True)
    study.report(figures=["attention", "views", "heatmap"])
    stems = {path.stem for path in (study.folder / "figures").iterdir()}
    assert stems == {"fig01_attention", "fig04a_views", "fig03_heatmap"}
    study.report(figures=["attention", "views", "heatmap"], pictures=False)
    assert {path.stem for path in (study.folder / "figures").iterdir()} == {"fig03_heatmap"}
