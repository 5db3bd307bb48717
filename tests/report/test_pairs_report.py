"""The report of pairs: galleries read the variants again, and the page says where they come from and what is wrong."""

import base64
import contextlib
import io

import numpy as np
import pytest
from PIL import Image

import embedshift
from embedshift.questions.examples.section import build_gallery
from embedshift.store.redraw import redraw
from support.mean_colour import MeanColour
from support.pairs import QUALITIES, decoded, tiles, write_pairs

pytestmark = pytest.mark.slow

PLENTY = 10_000_000


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Twelve images; one lacks a variant, and one variant of another has another shape."""
    folder = write_pairs(tmp_path_factory.mktemp("pairs"), tiles(12))
    (folder / "q10" / "04.jpg").unlink()
    Image.fromarray(tiles(12)[5]).resize((40, 20)).save(folder / "q50" / "05.jpg")
    return folder


@pytest.fixture(scope="module")
def study(pairs, tmp_path_factory):
    variants = [pairs / name for name in QUALITIES]
    settings = {"model": MeanColour(), "workers": 0, "allow_missing": True}
    return embedshift.run(
        pairs / "originals", pairs=variants, out=tmp_path_factory.mktemp("study") / "study", **settings
    )


def page(study, **settings):
    study.report(figures=["views", "attention"], **settings)
    return (study.folder / "report.html").read_text()


@contextlib.contextmanager
def away(*places):
    """Files and folders are gone, and then there again."""
    for place in places:
        place.rename(place.with_suffix(".away"))
    try:
        yield
    finally:
        for place in places:
            place.with_suffix(".away").rename(place)


def test_views_are_the_variants_read_again(study, pairs):
    ids = ["deep/00.png", "01.png", "04.png"]
    found, missing = redraw(study.reader(), ids)
    assert missing == {}
    for image in found:
        stem = image.image_id.removesuffix(".png")
        names = ["original", "q50"] if stem == "04" else ["original", "q50", "q10"]
        assert list(image.views) == names
        assert image.missing == {}, "what was never there is not gone"
        for name in names:
            file = f"originals/{stem}.png" if name == "original" else f"{name}/{stem}.jpg"
            np.testing.assert_array_equal(image.views[name], decoded(pairs / file))
        assert set(image.attention) == set(names)
    figure = study.figure("views", images=["04.png"])
    assert "n/a" in [text.get_text() for axes in figure.axes for text in axes.texts]


def test_the_gallery_shows_them(study, pairs):
    gallery = build_gallery(study.reader(), ["q10"], budget=PLENTY)
    assert (gallery.missing, gallery.unread, gallery.undrawable) == ({}, {}, [])
    assert "04.png" not in {card.image_id for card in gallery.cards}
    for card in gallery.cards:
        assert set(card.pictures) == {"original", "view", "original_attention", "view_attention"}
        address = gallery.pictures[card.pictures["view"]]
        shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(address.split(",")[1]))).convert("RGB"))
        expected = decoded(pairs / "q10" / card.image_id.replace(".png", ".jpg"))
        assert np.abs(shown.astype(int) - expected).mean() < 12


@pytest.mark.matrix
def test_a_variant_that_is_gone_is_missing_and_the_rest_stands(study, pairs):
    whole = build_gallery(study.reader(), ["q50", "q10"], budget=PLENTY)
    first = whole.cards[0].image_id
    with away(pairs / "q50" / first.replace(".png", ".jpg"), pairs / "q10"):
        gallery, html = build_gallery(study.reader(), ["q50", "q10"], budget=PLENTY), page(study)
    assert gallery.unread[first, "q50"] == "it is no longer in its source"
    assert "no such file or folder" in gallery.unread[whole.cards[-1].image_id, "q10"]
    assert gallery.missing == {}
    for card in gallery.cards:
        gone = card.augmentation == "q10" or card.image_id == first
        assert ("view" in card.pictures) != gone
        assert "original" in card.pictures
        assert card.metrics["cosine_similarity"] <= 1
    assert "No view: it is no longer in its source" in html
    assert "No view: q10: no such file or folder" in html
    assert (
        f"10 variants below cannot be shown, because the files could not be read again (first: q50 of {first}:" in html
    )
    assert str(pairs) not in html


@pytest.mark.matrix
def test_the_page_says_where_variants_come_from_and_what_is_wrong_with_them(study, pairs):
    html = page(study)
    for words in ('<section id="claims"', "paper&#39;s claims", "not testable", "shapes of q10"):
        assert words not in html
    for words in (
        "<dt>variants q50</dt><dd>12 images from q50</dd>",
        "<dt>variants q10</dt><dd>11 images from q10; 1 missing</dd>",
        "<dt>shapes of q50</dt><dd>1 variant whose aspect ratio differs from the original",
        "(first: 05.png)",
        study.info()["identity"]["augmentations"]["q50"]["hash"],
        "<dd>Made by another program<br>",
    ):
        assert words in html
    assert str(pairs) not in html, "no folder of this machine"


def test_without_pictures_no_name_is_shown(study, pairs):
    html = page(study, pictures=False)
    assert "1 variant whose aspect ratio differs" in html
    assert "This report was made without images: each name is replaced by a hash, and no figure shows an image." in html
    for words in ("05.png", "data:image/webp", str(pairs)):
        assert words not in html
