"""Figures 1, 2 and 4a: the pictures that they show, their titles, and galleries in pages."""

import logging
import random

import matplotlib
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from scipy.ndimage import zoom

import embedshift
from embedshift.figures import save_figures
from embedshift.questions.attention.figures import overlay
from embedshift.sources import remember_roots
from support.image_rows import headings, image_names, pictures
from support.synthetic import SIZE, make_study

pytestmark = pytest.mark.slow

NAMES = ["noise", "blur", "horizontal_flip", "coarse_dropout"]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return make_study(tmp_path_factory.mktemp("pictures") / "study", 20, NAMES, with_pictures=True, seed=5)


@pytest.fixture(scope="module")
def rows(study):
    return {(row["image_id"], row["view"]): row for row in pq.read_table(study.folder / "shards").to_pylist()}


def views(study, image):
    pixels = np.asarray(Image.open(study.folder / "pictures" / image).convert("RGB"))
    drawn = embedshift.make_views(pixels, image_id=image, seed=5, size=SIZE)
    return {name: drawn[name] for name in ["original", *NAMES]}


def shown(axes):
    return axes.images[0].get_array()


def test_views_are_those_of_the_study_with_name_and_cosine(study, rows):
    image = "image-00007.png"
    figure = study.figure("views", images=[image])
    for picture, wanted in zip(pictures(figure), views(study, image).values(), strict=True):
        np.testing.assert_array_equal(picture, wanted)
    assert image_names(figure) == [image]
    cosines = [rows[image, name]["cosine_similarity"] for name in NAMES]
    assert headings(figure) == ["original"] + [
        f"{name.replace('_', ' ')} cos {cosine:.3f}" for name, cosine in zip(NAMES, cosines, strict=True)
    ]


def test_attention_lies_over_every_view(study, rows):
    images = ["image-00002.png", "image-00011.png"]
    figure = study.figure("attention", images=images)
    assert image_names(figure) == images
    for index, image in enumerate(images):
        row, words = pictures(figure)[6 * index :][:6], headings(figure)[6 * index :][:6]
        drawn = views(study, image)
        np.testing.assert_array_equal(row[0], drawn["original"])
        for picture, name in zip(row[1:], ["original", *NAMES], strict=True):
            maps = np.array(rows[image, name]["attention"]).reshape(4, 4)
            np.testing.assert_array_equal(picture, overlay(drawn[name], maps))
        assert words[2] == f"noise cos {rows[image, 'noise']['cosine_similarity']:.3f}"


def test_the_pipeline_follows_one_view_from_pixels_to_metrics(study, rows):
    image = "image-00007.png"
    figure = study.figure("pipeline", images=[image])
    cosines = study.summary().filter(metric="cosine_similarity").sort("mean")
    view = cosines["augmentation"][2]  # of four, the upper middle one
    drawn, pair = views(study, image), [rows[image, name] for name in ("original", view)]
    maps = [np.array(row["attention"]).reshape(4, 4) for row in pair]
    original, *small, up_patches, patches, up_attention, attention, up_vector, vector = map(shown, figure.axes)
    for panel, name in zip(
        [original, *small, up_patches, patches], ["original", *NAMES, "original", view], strict=True
    ):
        np.testing.assert_array_equal(panel, drawn[name])
    framed = [axes for axes in figure.axes if any(spine.get_visible() for spine in axes.spines.values())]
    np.testing.assert_array_equal(shown(framed[0]), drawn[view])
    assert len(framed) == 1
    np.testing.assert_array_equal(up_attention, overlay(drawn["original"], maps[0]))
    np.testing.assert_array_equal(attention, overlay(drawn[view], maps[1]))
    vectors = np.array([row["embedding"] for row in pair])
    scaled = 0.5 + 0.5 * vectors / np.abs(vectors).max()
    for cells, values in zip((up_vector, vector), matplotlib.colormaps["RdBu_r"](scaled)[..., :3] * 255, strict=True):
        np.testing.assert_allclose(cells.reshape(9, 3), np.vstack([values, [255] * 3]), atol=0.51)
    words = "\n".join(text.get_text() for text in figure.texts)
    for label, metric in (("cosine similarity", "cosine_similarity"), ("detail preservation", "detail_preservation")):
        assert f"{label} {pair[1][metric]:.3f}" in words
    assert "4 × 4 patches" in words
    assert f"4 augmentations; framed:\n{view.replace('_', ' ')}" in words


def test_without_attention_the_pipeline_has_neither_patches_nor_maps(tmp_path, caplog):
    """And one page, however many images were asked for."""
    study = make_study(tmp_path / "study", 12, NAMES, grid=None, with_pictures=True)
    figure = study.figure("pipeline", images=9)
    assert len(figure.axes) == 1 + len(NAMES) + 2 * 2
    words = "\n".join(text.get_text() for text in figure.texts)
    assert "patches" not in words
    assert "attention" not in words
    radar = study.figure("radar")
    said = " ".join(text.get_text().replace("\n", " ") for text in radar.texts)
    assert "not available for this encoder: attention similarity" in said
    assert len(radar.axes[0].lines[0].get_xdata()) == 5, "four metrics and back"
    with caplog.at_level(logging.WARNING, logger="embedshift"):
        paths = save_figures(study.reader(), ["attention", "pipeline"], ["png"], images=9)
    assert [path.name for path in paths] == ["fig02_pipeline.png"]
    assert "this encoder provides no attention" in caplog.text


def test_overlay_is_brightest_where_the_attention_is():
    view = np.full((64, 64, 3), 120, np.uint8)
    attention = np.random.default_rng(0).random((4, 4)).astype(np.float32)
    large = zoom(attention, 16, order=1, mode="nearest", grid_mode=True)
    scaled = (large - large.min()) / (large.max() - large.min())
    heat = matplotlib.colormaps["inferno"](scaled)[..., :3]
    wanted = 255 * (0.45 * 120 / 255 + 0.55 * heat)
    assert np.abs(overlay(view, attention) - wanted).max() <= 3
    flat = overlay(view, np.full((4, 4), 0.0625, np.float32))
    assert len(np.unique(flat.reshape(-1, 3), axis=0)) == 1


@pytest.mark.matrix
def test_galleries_have_pages_of_eight_and_old_pages_go(study):
    images = [f"image-{number:05d}.png" for number in range(17)]
    paths = save_figures(study.reader(), ["attention", "views"], ["png"], images=images)
    assert [path.stem for path in paths] == [
        f"{stem}{page}" for stem in ("fig01_attention", "fig04a_views") for page in ("", "_p2", "_p3")
    ]
    save_figures(study.reader(), ["attention", "views"], ["png"], images=9)
    assert sorted(path.stem for path in (study.folder / "figures").iterdir()) == [
        f"{stem}{page}" for stem in ("fig01_attention", "fig04a_views") for page in ("", "_p2")
    ]


def test_images_are_drawn_by_the_seed_and_a_page_holds_no_more_than_eight(study):
    ids = sorted(random.Random(5).sample([f"image-{number:05d}.png" for number in range(20)], 3))
    assert image_names(study.figure("views", images=3)) == ids
    with pytest.raises(embedshift.EmbedshiftError, match="9 images are too many; give at most 8"):
        study.figure("views", images=9)


def test_figures_with_pictures_are_left_out_when_the_sources_are_gone(tmp_path, caplog):
    study = make_study(tmp_path / "study", 4, NAMES)
    remember_roots(study.reader().info.source)
    old = [study.folder / "figures" / name for name in ("fig04a_views.png", "fig04a_views_p2.svg", "fig04a_views2.png")]
    old[0].parent.mkdir(exist_ok=True)
    for path in old:
        path.write_bytes(b"of an earlier report")
    with caplog.at_level(logging.WARNING, logger="embedshift"):
        paths = save_figures(study.reader(), ["attention", "views", "pipeline", "l2_bars"], ["png"])
    assert [path.name for path in paths] == ["fig07_l2_bars.png"]
    assert "skipping figure 'attention': " in caplog.text
    assert "No such file" in caplog.text
    assert [path.exists() for path in old] == [False, False, True]
