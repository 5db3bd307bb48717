"""Maps as a reader sees them: figures and the section of the report, held against rows and tables."""

import dataclasses
import html
import re
import subprocess
import sys

import albumentations as A
import numpy as np
import polars as pl
import pytest

import embedshift
from embedshift.errors import EmbedshiftError
from embedshift.figures import FigureInput, iter_figures
from embedshift.figures.shared import overlay
from embedshift.questions.maps.section import largest_and_smallest_changes, most_reliable, trust_rows
from embedshift.report.page import fill
from embedshift.store.redraw import redraw
from support import models, studies
from support.image_rows import image_names, pictures
from support.overlap import overlaps

pytestmark = pytest.mark.slow

AUGMENTATIONS = {"flip": A.HorizontalFlip(p=1), "blur": A.GaussianBlur(p=1), "darker": A.RandomGamma((200, 200), p=1)}
NAMES = ("attention", "relevance", "tokens")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shown")
    photos, model = models.pictures(folder / "photos", 9), models.make("dinov2_registers", folder / "dinov2")
    settings = {"augmentations": AUGMENTATIONS, "maps": NAMES[1:], "maps_images": 8, "store": "metrics"}
    return embedshift.run(photos, out=folder / "study", model=str(model), workers=0, **settings)


def test_overlays_show_the_stored_maps_of_the_original_and_of_the_views_that_changed_most(study):
    figure = study.figure("maps")
    assert overlaps(figure) == []
    ids = image_names(figure)
    assert len(ids) == 2, "of the images that have maps, two are drawn by the seed"
    images, rows = redraw(study.reader(), ids)[0], study.rows().collect()
    shown = ["original", *FigureInput(study.reader()).by_rank()[::-1][:2]]
    panels = iter(pictures(figure))
    for image in images:
        for view in shown:
            row = rows.filter(image_id=image.image_id, view=view)
            assert next(panels).tolist() == image.views[view].tolist()
            for name in NAMES:
                column = f"map_{name}_original" if view == "original" else f"map_{name}"
                values = np.array(row[column][0], np.float32).reshape(4, 4)
                wanted = overlay(image.views[view], values, signed=name == "tokens")
                np.testing.assert_array_equal(next(panels), wanted)


def test_a_signed_map_is_red_above_and_blue_below_and_grey_at_nothing():
    values = np.array([[1.0, 0.0, -0.5]], np.float32)
    laid = overlay(np.zeros((30, 30, 3), np.uint8), values, signed=True).astype(int)
    red, nothing, blue = (laid[15, place] for place in (2, 15, 27))
    assert red[0] > red[2] + 30
    assert blue[2] > blue[0] + 30
    assert np.ptp(nothing) < 5
    assert np.ptp(overlay(np.zeros((30, 30, 3), np.uint8), np.zeros((1, 3)), signed=True)) < 5


def test_an_image_without_maps_is_refused_and_none_is_shown_where_images_may_not_be(study):
    (without,) = set(study.rows().collect()["image_id"]) - set(
        study.rows().filter(pl.col("map_tokens_original").is_not_null()).collect()["image_id"]
    )
    with pytest.raises(EmbedshiftError, match="figure 'maps': none of the chosen images has maps"):
        study.figure("maps", images=[without])
    data = FigureInput(dataclasses.replace(study.reader(), pictures=False))
    names = [kind.name for kind, _, _ in iter_figures(data, ["maps", "maps_moved"])]
    assert names == ["maps_moved"]


def test_the_figure_of_changes_draws_the_table(study):
    figure, table = study.figure("maps_moved"), study.table("maps")
    assert overlaps(figure) == []
    ranked = FigureInput(study.reader()).by_rank()
    assert [axes.get_title(loc="left") for axes in figure.axes][1] == "relevance"
    for axes, name in zip(figure.axes, NAMES, strict=True):
        part = table.filter(map=name, metric="aligned_correlation")
        means = dict(part.select("augmentation", "mean").iter_rows())
        lines, dots = axes.collections
        np.testing.assert_allclose(dots.get_offsets()[:, 0], [means[each] for each in ranked])
        low = dict(part.select("augmentation", "ci_low").iter_rows())
        np.testing.assert_allclose([line[0, 0] for line in lines.get_segments()], [low[each] for each in ranked])
    assert "maps of 8 images" in figure.texts[-1].get_text().replace("\n", " ")


@pytest.mark.matrix
def test_the_section_tells_the_tables_and_is_made_without_torch(study):
    code = f"""
import sys, embedshift
study = embedshift.load({str(study.folder)!r})
study.write_tables()
study.report(figures=["maps", "maps_moved"], formats=["svg"])
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    page = (study.folder / "report.html").read_text()
    section = page[page.index('<section id="maps"') :].split("</section>")[0]
    assert 'href="#maps"' in page
    assert section.count('alt="') == 2
    assert page.count('alt="Which patches determine the embedding') == 1, "not among the paper's figures too"
    words = " ".join(html.unescape(re.sub("<[^>]+>", " ", section)).split())
    assert "They cover 8 images, drawn by the seed" in words
    for row in trust_rows(study.table("map_trust")):
        assert " ".join([row["map"], *row["deletion"], *row["insertion"], row["verdict"]]) in words
    assert sentence_of(study.table("map_trust")) in words
    ranges = largest_and_smallest_changes(study.table("maps"))
    assert len(ranges) == 3
    for range_of_map in ranges:
        low, high = (" under ".join(end) for end in range_of_map["ends"])
        assert f"{range_of_map['map'].capitalize()}: mean correlation from {low} to {high}." in words


def test_no_section_and_no_figure_without_maps():
    study = studies.plain()
    assert 'id="maps"' not in (study.folder / "report.html").read_text()
    for name in ("maps", "maps_moved"):
        with pytest.raises(EmbedshiftError, match=r"the study has no maps; run it with `maps`|no image to show"):
            study.figure(name)


def table_of(**scores):
    """Name → deletion, insertion, and whether each is significantly better than random."""
    rows = [
        {"map": name, "score": kind, "n": 9, "mean": mean, "ci_low": None, "ci_high": None, "gain": 0.1,
         "significant": yes}
        for name, (means, better) in scores.items()
        for kind, mean, yes in zip(("deletion", "insertion"), means, better, strict=True)
    ]  # fmt: skip
    return pl.DataFrame(rows)


def sentence_of(trust):
    """What the section says of which map to trust."""
    content = {"images": "9 images", "target": "the target", "has": [], "overlays": None, "steps": 10, "rows": [],
               "trusted": most_reliable(trust), "is_aligned": False, "ends": [], "moved": None}  # fmt: skip
    (said,) = re.findall(r'<p class="lead">(.*?)</p>', fill("maps/section.html.j2", {"maps": content}), re.DOTALL)
    return " ".join(said.split())


def test_which_map_to_trust_is_said_only_as_far_as_it_is_significant():
    both, no = (True, True), (False, False)
    one = table_of(attention=((0.7, 0.8), both), relevance=((0.6, 0.9), both))
    wanted = "Relevance has the lowest mean deletion (0.600) and the highest mean insertion (0.900) of these images."
    assert sentence_of(one) == wanted
    two = table_of(attention=((0.5, 0.8), both), relevance=((0.6, 0.9), both))
    wanted = "Attention of the last layer has the lowest deletion (0.500), relevance has the highest insertion (0.900)"
    assert sentence_of(two) == f"{wanted}: no map is best by both scores."
    assert "Do not rely on them here" in sentence_of(table_of(attention=((0.5, 0.8), no), relevance=((0.6, 0.9), no)))
    assert most_reliable(one.with_columns(n=7)) == {}
    assert [row["verdict"] for row in trust_rows(table_of(relevance=((0.6, 0.9), (True, False))))] == ["deletion"]
    assert [row["verdict"] for row in trust_rows(one.with_columns(gain=-0.1))] == ["neither", "neither"]
    assert [row["verdict"] for row in trust_rows(one.with_columns(n=7))] == ["–", "–"]
