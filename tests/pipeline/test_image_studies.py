"""Studies of encoders of images: what they get of files, what fails, and how a run goes on."""

import numpy as np
import pytest
from PIL import Image

import embedshift
from embedshift import Transient
from embedshift.app.measured import encoder_from_study
from embedshift.cli.estimate import estimate
from embedshift.config import make_config
from embedshift.encoders import images as module
from embedshift.errors import UsageError
from embedshift.pipeline.prepare import prepared
from support.mean_colour import MeanColour
from support.models import pictures_of

pytestmark = pytest.mark.slow

SIZES = [(40, 50), (50, 40), (90, 120), (33, 33), (150, 60), (64, 64)]
CHANGES = {"mirror": lambda image, rng: image[:, ::-1], "half": lambda image, rng: image[::2, ::2]}
KEPT = {"mirror": CHANGES["mirror"], "dark": lambda image, rng: image // 2}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return pictures_of(tmp_path_factory.mktemp("photos"), {f"{number}.png": size for number, size in enumerate(SIZES)})


def corners(images):
    """The size, the colour of one corner and the mean colour: only the view itself has these numbers."""
    pixels = [np.asarray(image, np.float64) for image in images]
    return [[*array.shape[1::-1], *array[0, 0] + 1, *array.mean(axis=(0, 1))] for array in pixels]


def encoder(function=corners, version="1", **settings):
    return embedshift.image_encoder(function, name="corners", version=version, size=32, **settings)


def run(photos, out, model=None, **settings):
    given = {"augmentations": CHANGES, "apply_to": "file", "shard_size": 2, "workers": 0, "batch_size": 5, **settings}
    return embedshift.run(photos, out=out, model=model or encoder(), **given)


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.matrix)])
def test_it_gets_each_view_at_its_own_size_and_metrics_of_pixels_squares(photos, tmp_path, workers):
    study = run(photos, tmp_path / "images", workers=workers)
    rows = {(row["image_id"], row["view"]): row for row in study.rows().collect().iter_rows(named=True)}
    assert len(rows) == 3 * len(SIZES)
    for number in range(len(SIZES)):
        file = np.asarray(Image.open(photos / f"{number}.png"))
        for name, view in {"original": file, "mirror": file[:, ::-1], "half": file[::2, ::2]}.items():
            expected = corners([Image.fromarray(view)])[0]
            np.testing.assert_allclose(rows[f"{number}.png", name]["embedding"], expected, rtol=1e-6)
    squares = run(photos, tmp_path / "squares", model=MeanColour())
    for name in ("patch_similarity", "edge_preservation", "detail_preservation"):
        values = [each.rows().collect().sort("image_id", "view")[name].to_list() for each in (study, squares)]
        assert values[0] == values[1]
        assert any(value is not None and value < 1 for value in values[0])


def test_on_the_input_it_gets_squares(photos, tmp_path):
    study = run(photos, tmp_path / "s", apply_to="input", augmentations=KEPT)
    sizes = {tuple(row[:2]) for row in study.rows().collect()["embedding"].to_list()}
    assert sizes == {(32, 32)}
    assert study.info()["encoder"]["takes_images"]


def test_the_error_of_one_image_is_one_failure_and_a_transient_one_is_tried_again(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(module.time, "sleep", lambda _seconds: None)
    broken, busy = {(120, 90)}, {(50, 40)}

    def some(images):
        for image in images:
            if image.size in broken:
                raise ValueError("no such image")
            if image.size in busy:
                raise Transient("busy")
        return corners(images)

    study = run(photos, tmp_path / "s", model=encoder(some))
    failures = {row["image_id"]: row for row in study.failures().iter_rows(named=True)}
    assert {name: (row["stage"], row["transient"]) for name, row in failures.items()} == {
        "0.png": ("encode", True),
        "2.png": ("encode", False),
    }
    assert failures["2.png"]["reason"] == "the encoder failed: ValueError: no such image"
    assert failures["0.png"]["reason"] == "the encoder failed: busy"
    max((tmp_path / "s" / "shards").iterdir()).unlink()  # as if the run had ended before its last shard
    busy.clear()
    study = run(photos, tmp_path / "s", model=encoder(some), repair=True)
    assert study.failures()["image_id"].to_list() == ["2.png"]


def test_its_views_of_files_are_counted_before_they_fill_the_memory(photos, tmp_path):
    with pytest.raises(UsageError, match="100 of 2048 pixels take more than 1 GiB; at most 42 draws fit"):
        run(photos, tmp_path / "s", longest=2048, draws=50)


def test_a_dry_run_estimates_it(photos):
    config = make_config({"images": [str(photos)], "model": "corners", "apply_to": "file", "workers": 0})
    with prepared(config, None, encoder=encoder()) as study:
        assert study.plan.encodes_files
        assert any("to encode an image" in line for line in estimate(study))


def test_the_page_says_that_it_has_no_files(photos, tmp_path):
    named = f"python:{__name__}:corners"
    study = run(photos, tmp_path / "s", model=named)
    with pytest.raises(UsageError, match="the page has only squares"):
        encoder_from_study(study.reader(), named)
