"""What holds for all figures: nothing overlaps, one colour per augmentation, a caption, the same bytes every time."""

import logging
import subprocess
import sys
from dataclasses import dataclass
from itertools import combinations

import matplotlib
import numpy as np
import polars as pl
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab

from embedshift import EmbedshiftError
from embedshift.augmentations.paper import PAPER
from embedshift.figures import FIGURES, FigureInput, save_figures
from embedshift.figures.style import PALETTE, contrast, readable
from embedshift.store.reader import Reader
from support import studies
from support.matrix import first_only
from support.overlap import drawn_texts, overlaps
from support.report_fixtures import LONG
from support.synthetic import make_study

pytestmark = pytest.mark.slow

# Those of families of rising strength, maps and details of heads are drawn elsewhere.
ELSEWHERE = ("head_tokens",)
OF_ANY_STUDY = [
    name for name in FIGURES if FIGURES[name].question not in ("strength", "maps") and name not in ELSEWHERE
]

# Machado, Oliveira and Fernandes 2009, severity 1, on linear RGB.
BLINDNESS = {
    "none": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def study_of(kind, folder):
    return {
        "nine": lambda: make_study(folder, 40, with_pictures=True, layers=12, heads=(12, 12), text=True, looks=True),
        "twenty": lambda: make_study(
            folder,
            60,
            LONG,
            with_pictures=True,
            encoder="some/quite-long-" * 6,
            layers=24,
            heads=(24, 16),
            text=True,
            looks=True,
        ),
        "no attention": lambda: make_study(
            folder, 40, grid=None, with_pictures=True, draws=2, layers=3, heads=(3, 4), text=True, looks=True
        ),
        "one image": lambda: make_study(folder, 1, with_pictures=True, layers=3, heads=(3, 4), text=True, looks=True),
        "one augmentation": lambda: make_study(
            folder, 5, ["noise"], with_pictures=True, layers=1, heads=(1, 1), text=True, looks=True
        ),
        "like one another": lambda: make_study(
            folder,
            40,
            effect=dict.fromkeys(PAPER, 0.2),
            with_pictures=True,
            layers=3,
            heads=(2, 3),
            text=True,
            looks=True,
        ),
    }[kind]()


@pytest.fixture(
    scope="module",
    params=first_only(["nine", "twenty", "no attention", "one image", "one augmentation", "like one another"]),
)
def study(request, tmp_path_factory):
    study = study_of(request.param, tmp_path_factory.mktemp("layout") / "study")
    study.kind = request.param
    return study


def test_the_measure_of_overlaps_finds_them():
    figure = matplotlib.figure.Figure(figsize=(2, 2))
    figure.text(0.5, 0.5, "here")
    figure.text(0.55, 0.5, "there")
    figure.text(0.9, 0.1, "beyond the edge")
    assert len(overlaps(figure)) == 2


@pytest.mark.parametrize("name", OF_ANY_STUDY)
def test_no_words_overlap_and_all_stay_inside(study, name):
    if name in ("attention", "attention_change") and study.kind == "no attention":
        with pytest.raises(EmbedshiftError, match=r"provides no attention|no optional metric of attention"):
            study.figure(name)
        return
    if name == "ruler" and study.kind == "one image":
        with pytest.raises(EmbedshiftError, match="too few images, or all as similar as equal ones"):
            study.figure(name)
        return
    assert overlaps(study.figure(name)) == []


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mine") / "study"
    asked = {"layers": 3, "heads": (3, 4), "text": True, "looks": True}
    return make_study(folder, 7, ["noise", "blur"], with_pictures=True, draws=2, encoder="my_encoder", **asked)


@pytest.mark.parametrize("name", first_only(OF_ANY_STUDY))
def test_caption_tells_encoder_and_number_of_images(mine, name):
    captions = [text for text, _ in drawn_texts(mine.figure(name)) if "my_encoder (float32)" in text]
    assert len(captions) == 1
    assert "n = 7 images × 2 draws" in captions[0].replace("\n", " ")


@dataclass(frozen=True, eq=False)
class Holed(Reader):
    """A study whose rows are others than those in its folder."""

    changed: pl.LazyFrame | None = None

    def rows(self):
        return self.changed


def with_holes(study):
    """No detail preservation for blur, none at all for noise."""
    data = FigureInput(study.reader())
    lost = (pl.col("augmentation") == "noise") & (pl.col("metric") != "l2_distance")
    lost |= (pl.col("augmentation") == "blur") & (pl.col("metric") == "detail_preservation")
    statistics = [column for column in data.summary.columns if data.summary[column].dtype == pl.Float64]
    summary = data.summary.with_columns(pl.when(lost).then(None).otherwise(pl.col(statistics)).name.keep())
    ranking = data.ranking.with_columns(
        pl.when(pl.col("augmentation") == "noise").then(None).otherwise(pl.col("mean_performance")).name.keep()
    )
    hole = pl.when(pl.col("view") == "noise").then(float("nan"))
    rows = data.rows.with_columns(hole.otherwise(pl.col(m)).alias(m) for m in ("cosine_similarity", "l2_distance"))
    no_layer = (pl.col("augmentation") == "noise") & (pl.col("metric") != "l2_distance") & (pl.col("layer") > 1)
    layers = data.need("layers").with_columns(pl.when(no_layer).then(None).otherwise(pl.col("mean")).alias("mean"))
    still = pl.col("augmentation") == "noise"
    words = data.need("words").with_columns(pl.when(still).then(None).otherwise(pl.col("mean")).alias("mean"))
    heads = data.need("heads").with_columns(
        pl.when(still).then(None).otherwise(pl.col("contribution")).alias("contribution")
    )
    made = {"summary": summary, "ranking": ranking, "layers": layers, "words": words, "heads": heads}
    return FigureInput(Holed(study.folder, made=made, changed=rows))


@pytest.fixture(scope="module")
def holed(tmp_path_factory):
    names, asked = (
        ["noise", "blur", "elastic", "perspective"],
        {"layers": 3, "heads": (3, 4), "text": True, "looks": True},
    )
    return with_holes(make_study(tmp_path_factory.mktemp("holed") / "study", 12, names, **asked))


@pytest.mark.matrix
@pytest.mark.parametrize("name", [name for name in OF_ANY_STUDY if not FIGURES[name].shows_images])
def test_missing_values_are_said_or_left_out(holed, name):
    if name == "clustermap":
        with pytest.raises(EmbedshiftError, match="no metric has a mean for every augmentation"):
            FIGURES[name].draw(holed)
        return
    figure = FIGURES[name].draw(holed)
    assert overlaps(figure) == []
    texts = [text for text, _ in drawn_texts(figure)]
    if name in ("heatmap", "profile", "metric_bars"):
        assert sum("n/a" in text for text in texts) >= 6
    assert not any("nan" in text for text in texts)


@pytest.mark.matrix
def test_without_attention_four_metrics_are_left_and_the_caption_says_so(tmp_path):
    study = make_study(tmp_path / "study", 9, ["noise", "blur", "elastic"], grid=None)
    for name in ("heatmap", "radar", "profile", "metric_bars", "clustermap"):
        texts = [text.replace("\n", " ") for text, _ in drawn_texts(study.figure(name))]
        assert sum("not available for this encoder: attention similarity" in text for text in texts) == 1
        assert sum(text.startswith("attention similarity") for text in texts) == 0
    assert len(study.figure("radar").axes[0].lines[0].get_xdata()) == 5  # four metrics and back


def seen_by(kind, colours):
    rgb = np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in colours])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(linear @ np.array(BLINDNESS[kind]).T, 0, 1)
    return rgb2lab(np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)[None])[0]


@pytest.mark.parametrize(("kind", "count"), [("none", 20), ("none", 9), ("protan", 9), ("deutan", 9), ("tritan", 9)])
def test_colours_can_be_told_apart(kind, count):
    lab = seen_by(kind, PALETTE[:count])
    nearest = min(deltaE_ciede2000(a, b) for a, b in combinations(lab, 2))
    assert len(set(PALETTE)) >= 20
    assert nearest > 10


def test_coloured_names_can_be_read_on_white():
    for colour in PALETTE:
        assert contrast(readable(colour), "white") >= 4.5


@pytest.mark.matrix
def test_the_users_own_style_changes_nothing_and_is_left_alone(tmp_path):
    study = make_study(tmp_path / "study", 6, ["noise", "blur", "elastic"])
    plain = save_figures(study.reader(), ["l2_bars"], ["svg"])[0].read_bytes()
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "black", "svg.hashsalt": "mine"}):
        assert save_figures(study.reader(), ["l2_bars"], ["svg"])[0].read_bytes() == plain
        assert matplotlib.rcParams["font.size"] == 20


@pytest.mark.parametrize("ending", first_only(["svg", "png", "pdf"]))
def test_files_are_the_same_bytes_every_time(tmp_path, ending):
    study = make_study(tmp_path / "study", 6, ["noise", "blur", "elastic"])
    first, again = (
        [path.read_bytes() for path in save_figures(study.reader(), ["dendrogram", "l2_density"], [ending])]
        for _ in range(2)
    )
    assert first == again
    assert not list((study.folder / "figures").glob(".*"))


def test_those_of_the_paper_and_ours_have_their_names_and_numbers():
    """Those that a report makes where nobody says which."""
    assert sorted(path.name for path in (studies.nasty().folder / "figures").iterdir()) == [
        "fig01_attention.svg", "fig02_pipeline.svg", "fig03_heatmap.svg", "fig04a_views.svg", "fig04b_l2_density.svg",
        "fig04c_cosine_histogram.svg", "fig04d_dendrogram.svg", "fig05_radar.svg", "fig06_profile.svg",
        "fig07_l2_bars.svg", "fig08a_clustermap.svg", "fig08b_metric_bars.svg", "fig09_sample_heatmap.svg",
        "fig14_directions.svg", "fig15_ruler.svg", "fig18_recall.svg", "fig19_gallery.svg", "fig20_roc.svg",
    ]  # fmt: skip


def test_wrong_names_and_formats_are_refused(tmp_path, caplog):
    study = make_study(tmp_path / "study", 3, ["noise", "blur"], with_pictures=True)
    with caplog.at_level(logging.WARNING):
        for wrong, said in (
            ({"names": ["dendogram"]}, "did you mean 'dendrogram'"),
            ({"formats": ["gif"]}, "known: png, svg, pdf"),
            ({"images": ["nowhere.png"], "names": ["views"]}, "nowhere.png: no such image"),
        ):
            with pytest.raises(EmbedshiftError, match=said) as refused:
                save_figures(study.reader(), **wrong)
            assert refused.value.exit_code == 2


@pytest.mark.matrix
def test_drawing_imports_no_torch_and_opens_no_window(tmp_path):
    asked = {"layers": 3, "heads": (3, 4), "text": True, "looks": True}
    study = make_study(tmp_path / "study", 4, ["noise", "blur"], with_pictures=True, **asked)
    code = f"""
import sys, embedshift
study = embedshift.load({str(study.folder)!r})
for name in {OF_ANY_STUDY}:
    study.figure(name)
assert "torch" not in sys.modules
import matplotlib.pyplot
assert not matplotlib.pyplot.get_fignums()
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
