"""The gallery: which images it shows, what pixels, and how it keeps to its budget."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from embedshift.augmentations.paper import PAPER
from embedshift.questions.examples.section import build_gallery, extremes
from embedshift.report.section import heat, shrink, webp
from embedshift.store.redraw import redraw
from support import studies
from support.matrix import first_only
from support.synthetic import make_study

pytestmark = pytest.mark.slow

PLENTY = 10_000_000


@pytest.fixture(scope="module")
def study():
    return studies.paper()


def pixels(address: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.split(",")[1]))))


def test_extremes_are_those_of_a_plain_sort(study):
    for name in PAPER:
        rows = [row for row in study.rows().collect().to_dicts() if row["view"] == name and row["draw"] == 0]
        ordered = [row["image_id"] for row in sorted(rows, key=lambda row: row["cosine_similarity"])]
        found = extremes(study.rows(), name, count=3)
        assert found["most"] == ordered[:3]
        assert found["least"] == ordered[::-1][:3]
        assert set(found["typical"]) == set(ordered[4:7])


@pytest.mark.parametrize("images", first_only([1, 2, 4, 7]))
def test_no_image_stands_twice_in_a_small_study(tmp_path, images):
    found = extremes(make_study(tmp_path / "s", images, ["noise"], with_tables=False).rows(), "noise")
    shown = [image for kind in found.values() for image in kind]
    assert len(set(shown)) == len(shown)
    assert found["most"]


def test_thumbnails_show_the_view_and_its_attention(study):
    gallery = build_gallery(study.reader(), ["blur"], budget=PLENTY)
    card = gallery.cards[0]
    image = redraw(study.reader(), [card.image_id])[0][0]
    shown = pixels(gallery.pictures[card.pictures["view"]]).astype(float)
    assert np.abs(shown - image.views["blur"]).mean() < 8
    layer = pixels(gallery.pictures[card.pictures["view_attention"]])
    assert np.unravel_index(layer[..., 3].argmax(), (4, 4)) == np.unravel_index(
        image.attention["blur"].argmax(), (4, 4)
    )
    assert card.metrics == pytest.approx(image.metrics["blur"])


@pytest.mark.matrix
def test_every_budget_is_kept(study, monkeypatch):
    whole = build_gallery(study.reader(), list(PAPER), budget=PLENTY)
    total = sum(map(len, whole.pictures.values()))
    assert len(whole.cards) == 81
    assert whole.left_out == 0
    for budget in (total - 1, total // 2, total // 5, 3000, 0):
        gallery = build_gallery(study.reader(), list(PAPER), budget=budget)
        assert sum(map(len, gallery.pictures.values())) <= budget
        used = {key for card in gallery.cards for key in card.pictures.values()}
        assert used <= set(gallery.pictures)
    assert gallery.left_out > 0
    assert gallery.pictures == {}


def test_a_source_that_is_gone_keeps_its_numbers(tmp_path):
    study = studies.copied(studies.paper(), tmp_path / "s")
    (tmp_path / "s" / "pictures" / "image-00004.png").unlink()
    (tmp_path / "s" / "pictures" / "image-00005.png").write_text("no picture")
    gallery = build_gallery(study.reader(), list(PAPER), budget=PLENTY)
    assert gallery.missing["image-00004.png"] == "No such file or directory"
    assert "not an image" in gallery.missing["image-00005.png"]
    for card in gallery.cards:
        assert bool(card.pictures) == (card.image_id not in gallery.missing)
        assert card.metrics["cosine_similarity"] <= 1


def test_pictures():
    assert heat(np.full((3, 3), 0.2, np.float32))[..., 3].max() == 0
    assert heat(np.random.default_rng(0).random((64, 40), np.float32)).shape == (32, 32, 4)
    exact = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(webp(exact, 100)))), exact)
    assert shrink(exact, 100).shape == (9, 7, 3)
