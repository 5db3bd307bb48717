"""Heads as a reader sees them: the section of the report and the figures, held against the table."""

import re

import numpy as np
import polars as pl
import pytest

from embedshift import EmbedshiftError
from embedshift.figures import FIGURES, FigureInput
from embedshift.questions.heads.figures import MOST_PANELS
from embedshift.questions.heads.section import rows_of
from support import studies
from support.matrix import first_only
from support.synthetic import make_study

pytestmark = pytest.mark.slow

SUITE = ["noise", "elastic", "blur"]


@pytest.fixture(scope="module")
def study():
    return studies.every()


def shift(study, name):
    cosine = study.summary().filter(augmentation=name, metric="cosine_similarity")
    return 1 - cosine["mean"].item()


def contributions(study, name, part="head"):
    """Contributions of heads `[L, H]`, or of MLPs `[L]`, by a loop over the table."""
    found = {}
    for row in study.heads().filter(augmentation=name).iter_rows(named=True):
        if row["layer"] and (row["part"] == "mlp") == (part == "mlp"):
            found.setdefault(row["layer"], []).append(row["contribution"])
    return np.array([found[layer] for layer in sorted(found)]).squeeze()


def test_the_map_draws_the_table_on_one_scale(study):
    figure = study.figure("heads_map")
    panels = [axes for axes in figure.axes if axes.get_title(loc="left")]
    order = sorted(SUITE, key=lambda name: -shift(study, name))
    assert [axes.get_title(loc="left") for axes in panels] == order
    end = max(np.abs(contributions(study, name)).max() for name in SUITE)
    for axes, name in zip(panels, order, strict=True):
        heads, mlps = axes.collections
        np.testing.assert_allclose(heads.get_array(), contributions(study, name), rtol=1e-12)
        np.testing.assert_allclose(np.ravel(mlps.get_array()), contributions(study, name, "mlp"), rtol=1e-12)
        assert heads.get_clim() == mlps.get_clim() == pytest.approx((-end, end))
        assert axes.get_ylim() == (5, 0), "the first block is on top"
        frame = axes.patches[0].get_xy()
        row, column = np.unravel_index(contributions(study, name).argmax(), (5, 4))
        assert frame == (column, row)
    caption = figure.texts[-1].get_text().replace("\n", " ")
    assert "larger ones of MLPs have the same colour" in caption
    assert "augmentations" not in caption


@pytest.mark.matrix
def test_the_map_shows_the_strongest_of_many_and_says_so(tmp_path):
    names = [f"change_{number}" for number in range(MOST_PANELS + 3)]
    study = make_study(tmp_path / "study", 8, names, heads=(2, 3))
    figure = study.figure("heads_map")
    order = sorted(names, key=lambda name: -shift(study, name))[:MOST_PANELS]
    assert [title.replace(" ", "_") for axes in figure.axes if (title := axes.get_title(loc="left"))] == order
    caption = figure.texts[-1].get_text().replace("\n", " ")
    assert "9 of 12 augmentations: those with the largest shift" in caption
    assert len(study.figure("heads_bars").axes[0].get_yticks()) == 12, "bars show all"


def test_bars_are_stacked_from_0_to_either_side_and_sum_to_the_shift(study):
    """Every part by a loop over the table; negative parts lie to the left of 0, one after the other."""
    figure = study.figure("heads_bars")
    order = sorted(SUITE, key=lambda name: -shift(study, name))
    for axes, scaled in zip(figure.axes, (True, False), strict=True):
        widths = np.array([[bar.get_width() for bar in bars] for bars in axes.containers])
        starts = np.array([[bar.get_x() for bar in bars] for bars in axes.containers])
        for place, name in enumerate(order):
            scale = shift(study, name) if scaled else 1.0
            heads, mlps = contributions(study, name).sum(axis=1), contributions(study, name, "mlp")
            single = study.heads().filter(augmentation=name, layer=0)["contribution"].to_numpy()
            wanted = {"input": single[0]}
            for kind, values in (("heads", heads), ("MLPs", mlps)):
                wanted |= {f"{kind} of blocks 1–2": values[:2].sum(), f"{kind} of blocks 3–4": values[2:4].sum()}
                wanted["MLP of block 5" if kind == "MLPs" else "heads of block 5"] = values[4]
            labels = [bars.get_label() for bars in axes.containers[0::2]]
            drawn = dict(zip(labels, (widths[0::2] + widths[1::2])[:, place], strict=True))
            assert drawn == pytest.approx({label: scale * wanted.pop(label) for label in labels})
            assert max(map(abs, wanted.values()), default=0) < 0.005, "left out, and carries something"
            negative = np.flatnonzero(widths[:, place] < 0)
            ends = np.concatenate([[0], np.cumsum(widths[negative, place])])
            np.testing.assert_allclose(starts[negative, place], ends[:-1], atol=1e-12)
            dots = axes.collections[0].get_offsets()
            np.testing.assert_allclose(dots[place], (scale, place), atol=1e-6)
    assert (widths < 0).any(), "no part is negative: the made study proves nothing"


def test_legend_names_each_part_once(study):
    figure = study.figure("heads_bars")
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert len(legend) == len(set(legend))
    assert {"heads of blocks 1–2", "heads of blocks 3–4", "heads of block 5", "MLP of block 5"} <= {*legend}
    assert not {"pooling pattern", "rest"} & {*legend}, "they carry nothing in this study"
    handles = dict(zip(legend, figure.legends[0].legend_handles, strict=True))
    dark = [
        sum(handles[f"heads of {blocks}"].get_facecolor()[:3]) for blocks in ("blocks 1–2", "blocks 3–4", "block 5")
    ]
    assert dark == sorted(dark, reverse=True), "the later, the darker"


def section_of(study):
    html = (study.folder / "report.html").read_text()
    assert 'href="#heads"' in html
    return html[html.index('<section id="heads"') :].split("</section>")[0], html


@pytest.mark.matrix
def test_section_of_the_report():
    study = studies.every_reported()
    section, html = section_of(study)
    assert (study.folder / "figures" / "fig21_heads_map.svg").is_file()
    assert (study.folder / "figures" / "fig22_heads_bars.svg").is_file()
    for term in ("attention heads", "MLP", "residual stream", "contribution"):
        assert f"<b>{term}</b>" in section
    for title in ("Which heads and MLPs carry the shift", "How much of the shift heads, MLPs and input carry"):
        assert html.count(f'alt="{title}') == section.count(f'alt="{title}') == 1  # not among the paper's figures
    for term in ("head", "MLP", "contribution", "residual stream"):
        assert re.search(rf"<dt[^>]*>{term}</dt>", html), term
    for name in SUITE:
        row = section[section.index(f"<bdi>{name}</bdi>") :].split("</tr>")[0]
        heads, mlps = contributions(study, name), contributions(study, name, "mlp")
        first = np.unravel_index(heads.argmax(), heads.shape)
        assert f"block {first[0] + 1}, head {first[1]}: " in row
        assert "<td>yes</td>" in row, "the made head carries ten times as much as the next"
        numbers = [heads.sum(), mlps.sum(), heads[-1].sum() + mlps[-1], study.heads().filter(augmentation=name, part="input")["contribution"].item()]  # fmt: skip  # noqa: E501
        wanted = [f"{round(100 * each, 1) + 0.0:.1f} %".replace("-", "−") for each in numbers]
        assert re.findall(r'<td class="number">([^<]+)</td>', row) == wanted
    assert html.index('<section id="heads"') < html.index('<section id="figures"')


def test_figures_are_introduced_only_where_they_are():
    section, _ = section_of(studies.few(12))
    assert "figure" not in section
    assert "<table>" in section


@pytest.mark.parametrize(
    ("images", "said"),
    first_only([(1, "With 1 image, there are no intervals."), (12, "With 12 images, intervals are approximate.")]),
)
def test_the_section_says_what_the_number_of_images_allows(images, said):
    section, _ = section_of(studies.few(images))
    assert said in section
    assert ("<td>–</td>" in section) == (images < 8), "clear"


def test_clear_and_dashes():
    """Of three heads: the first clear of the second, not clear, and an augmentation that moved nothing."""
    parts = [(0, "input"), (0, "pattern"), (0, "rest"), (1, "0"), (1, "1"), (1, "2"), (1, "mlp")]
    numbers = {
        "clear": [(0.5, 0.4, 0.6), (0.2, 0.1, 0.39), (0.1, 0.0, 0.2)],
        "close": [(0.2, 0.1, 0.41), (0.5, 0.4, 0.6), (-0.1, -0.2, 0.0)],
        "still": [(None, None, None)] * 3,
    }
    rows = [
        (name, *part, *ends)
        for name, own in numbers.items()
        for part, ends in zip(parts, [*[(0.0, 0.0, 0.0) if name != "still" else own[0]] * 3, *own, own[2]], strict=True)
    ]
    columns = ["augmentation", "layer", "part", "contribution", "ci_low", "ci_high"]
    found = rows_of(pl.DataFrame(rows, schema=columns, orient="row"), ["still", "close", "clear"])
    still, close, clear = found["rows"]
    assert (found["depth"], found["width"]) == (1, 3)
    assert (clear["ahead"], close["ahead"], still["ahead"]) == ("yes", "no", "–")
    assert [head["name"] for head in close["heads"]] == ["block 1, head 1", "block 1, head 0", "block 1, head 2"]
    assert (still["heads"], still["mlps"], still["last"], still["input"]) == ([], "–", "–", "–")


def test_without_heads_there_is_no_section_and_no_figure():
    plain = studies.plain()
    assert 'id="heads"' not in (plain.folder / "report.html").read_text()
    for name in ("heads_map", "heads_bars"):
        assert not FIGURES[name].is_available(FigureInput(plain.reader()))
        with pytest.raises(EmbedshiftError, match="no heads; run it with `heads`"):
            plain.figure(name)
