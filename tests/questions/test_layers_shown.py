"""Layers as a reader sees them: the section of the report and the figure, held against the table."""

import dataclasses
import re

import numpy as np
import polars as pl
import pytest

from embedshift.figures import FigureInput, iter_figures
from embedshift.questions.layers.section import half_way
from support import studies
from support.matrix import first_only
from support.synthetic import make_study

pytestmark = pytest.mark.slow

SUITE = ["noise", "elastic", "blur"]


def test_section_of_the_report():
    study = studies.every_reported()
    assert (study.folder / "figures" / "fig10_depth.svg").is_file()
    html = (study.folder / "report.html").read_text()
    section = html[html.index('<section id="layers"') :]
    section = section[: section.index("</section>")]
    assert 'href="#layers"' in html
    for term in ("blocks", "patch token", "class token", "cosine similarity", "CKA"):
        assert f"<b>{term}</b>" in section
    assert 'alt="Shift after every block' in section
    assert html.count('alt="Shift after every block') == 1  # not among the paper's figures
    cosine = study.layers().filter(pl.col("token") == "cls", pl.col("metric") == "cosine_similarity")
    for name in SUITE:
        changes = [1 - mean for mean in cosine.filter(pl.col("augmentation") == name)["mean"]]
        half = 1 + [change >= changes[-1] / 2 for change in changes].index(True)
        row = section[section.index(f"<bdi>{name}</bdi>") :].split("</tr>")[0]
        assert re.findall(r">([^<>]+)</td>", row) == [f"{changes[0]:#.2g}", f"{changes[-1]:#.2g}", str(half)]


@pytest.mark.parametrize(
    ("images", "said", "unsaid"),
    first_only(
        [
            (1, ["With 1 image there are no intervals", "needs at least 30 images"], ["approximate"]),
            (12, ["With 12 images the intervals are approximate", "needs at least 30"], ["no intervals"]),
            (40, ["unrelated patterns"], ["With 40 images", "needs at least"]),
        ]
    ),
)
def test_the_section_says_what_the_number_of_images_allows(images, said, unsaid):
    study = studies.few(images) if images < 30 else studies.every_reported()
    html = (study.folder / "report.html").read_text()
    section = html[html.index('<section id="layers"') :].split("</section>")[0]
    assert [words in section for words in said] == [True] * len(said)
    assert [words in section for words in unsaid] == [False] * len(unsaid)
    assert (section.count(">–</td>") == 2) == (images < 8), "no block is named without intervals"


def test_what_did_not_move_has_no_half_way():
    assert half_way([3e-8, 6e-8, 1e-7]) is None


@pytest.mark.matrix
def test_no_section_and_no_figure_without_layers(tmp_path, caplog):
    study = studies.copied(studies.plain(), tmp_path / "study")
    assert 'id="layers"' not in (study.folder / "report.html").read_text()
    names = [kind.name for kind, _, _ in iter_figures(FigureInput(dataclasses.replace(study.reader(), pictures=False)))]
    assert "radar" in names
    assert "depth" not in " ".join(names) + caplog.text


def test_the_figure_draws_the_table():
    study = studies.every()
    figure, table = study.figure("depth"), study.layers()
    shown = [(token, metric) for metric in ("cosine_similarity", "cka") for token in ("cls", "patches")]
    assert len(figure.axes) == len(shown)
    for axes, (token, metric) in zip(figure.axes, shown, strict=True):
        assert axes.get_yscale() == ("log" if metric == "cosine_similarity" else "linear")
        assert [line.get_label() for line in axes.lines] == SUITE
        for line, name, band in zip(axes.lines, SUITE, axes.collections, strict=True):
            part = table.filter(augmentation=name, token=token, metric=metric)
            mean, low, high = (part[column].to_numpy() for column in ("mean", "ci_low", "ci_high"))
            if metric == "cosine_similarity":
                mean, low, high = 1 - mean, 1 - high, 1 - low
            np.testing.assert_array_equal(line.get_xdata(), part["layer"])
            np.testing.assert_array_equal(line.get_ydata(), mean)
            assert {*band.get_paths()[0].vertices[:, 1]} == {*low, *high}
            assert line.get_color() == FigureInput(study.reader()).colours[name]
    assert "logarithmic axis" in figure.texts[-1].get_text().replace("\n", " ")


def test_what_did_not_move_lies_at_the_lower_end_of_the_logarithmic_axis(tmp_path):
    study = make_study(tmp_path / "study", 8, ["noise", "still"], layers=4, effect={"noise": 1.0, "still": 0.0})
    figure = study.figure("depth")
    assert len(figure.axes) == 2, "8 images are too few for CKA"
    for axes in figure.axes:
        noise, still = (line.get_ydata() for line in axes.lines)
        np.testing.assert_array_equal(still, 1e-6)
        assert axes.get_ylim()[0] == 1e-6
        assert axes.get_ylim()[1] > noise.max()
    make_study(tmp_path / "all", 8, ["still"], layers=4, effect={"still": 0.0}).figure("depth")
