"""What holds for all figures: nothing overlaps, one colour per augmentation, a caption, the same bytes every time."""

import logging
from dataclasses import dataclass

import matplotlib
import matplotlib.pyplot as plt
import polars as pl
import pytest

from embedshift import EmbedshiftError
from embedshift.augmentations.paper import PAPER
from embedshift.figures import FIGURES, FigureInput, save_figures
from embedshift.store.reader import Reader
from support import studies
from support.matrix import first_only
from support.overlap import drawn_texts, overlaps
from support.report_fixtures import LONG

pytestmark = pytest.mark.slow

# Those of strength, maps, power, chains, indexes, thresholds, directions and details of heads are drawn elsewhere.
ELSEWHERE = ("strength", "maps", "chains", "index", "meaning", "power", "threshold")
OF_ANY_STUDY = [name for name in FIGURES if FIGURES[name].question not in ELSEWHERE and name != "head_tokens"]
ASKED = {"layers": 3, "heads": (3, 4), "text": True, "looks": True}
LARGE = {"encoder": "some/quite-long-" * 6, "layers": 24, "heads": (24, 16)}
KINDS = {
    "nine": (40, PAPER, {"layers": 12, "heads": (12, 12)}),
    "twenty": (60, LONG, LARGE),
    "no attention": (40, PAPER, {"grid": None, "draws": 2}),
    "one image": (1, PAPER, {}),
    "one augmentation": (5, ["noise"], {"layers": 1, "heads": (1, 1)}),
    "like one another": (40, PAPER, {"effect": dict.fromkeys(PAPER, 0.2)}),
}
REFUSED = {
    ("no attention", "attention"): "provides no attention",
    ("no attention", "attention_change"): "no optional metric of attention",
    ("one image", "ruler"): "too few images, or all as similar as equal ones",
}


@pytest.mark.parametrize("name", OF_ANY_STUDY)
@pytest.mark.parametrize("kind", first_only(KINDS))
def test_no_words_overlap_and_all_stay_inside_no_window(kind, name):
    images, names, more = KINDS[kind]
    study = studies.synthetic(images, list(names), with_pictures=True, **{**ASKED, **more})
    if (kind, name) in REFUSED:
        with pytest.raises(EmbedshiftError, match=REFUSED[kind, name]):
            study.figure(name)
        return
    before = plt.get_fignums()
    assert overlaps(study.figure(name)) == []
    assert plt.get_fignums() == before


@pytest.mark.parametrize("name", first_only(OF_ANY_STUDY))
def test_caption_tells_encoder_and_number_of_images(name):
    asked = {"with_pictures": True, "draws": 2, "encoder": "my_encoder"} | ASKED
    captions = [text for text, _ in drawn_texts(studies.synthetic(7, ["noise", "blur"], **asked).figure(name))]
    (caption,) = [text for text in captions if "my_encoder (float32)" in text]
    assert "n = 7 images × 2 draws" in caption.replace("\n", " ")


@dataclass(frozen=True, eq=False)
class Holed(Reader):
    """A study whose rows are others than those in its folder."""

    changed: pl.LazyFrame | None = None

    def rows(self):
        return self.changed


@pytest.fixture(scope="module")
def holed():
    """No detail preservation for blur, none at all for noise."""
    study = studies.synthetic(12, ["noise", "blur", "elastic", "perspective"], **ASKED)
    data = FigureInput(study.reader())
    still = pl.col("augmentation") == "noise"

    def without(table, lost, *columns):
        return table.with_columns(pl.when(lost).then(None).otherwise(pl.col(*columns)).name.keep())

    lost = still & (pl.col("metric") != "l2_distance")
    lost |= (pl.col("augmentation") == "blur") & (pl.col("metric") == "detail_preservation")
    hole = pl.when(pl.col("view") == "noise").then(float("nan"))
    made = {
        "summary": without(data.summary, lost, *data.summary.select(pl.selectors.float()).columns),
        "ranking": without(data.ranking, still, "mean_performance"),
        "layers": without(
            data.need("layers"), still & (pl.col("metric") != "l2_distance") & (pl.col("layer") > 1), "mean"
        ),
        "words": without(data.need("words"), still, "mean"),
        "heads": without(data.need("heads"), still, "contribution"),
    }
    rows = data.rows.with_columns(hole.otherwise(pl.col(m)).alias(m) for m in ("cosine_similarity", "l2_distance"))
    return FigureInput(Holed(study.folder, made=made, changed=rows))


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


@pytest.mark.parametrize("ending", first_only(["svg", "png", "pdf"]))
def test_files_are_the_same_bytes_every_time_and_by_any_style_of_the_user(tmp_path, ending):
    study = studies.copied(studies.paper(), tmp_path / "study")

    def written():
        return [path.read_bytes() for path in save_figures(study.reader(), ["dendrogram", "l2_density"], [ending])]

    first = written()
    assert first == written()
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "black", "svg.hashsalt": "mine"}):
        assert first == written()
        assert matplotlib.rcParams["font.size"] == 20
    assert not list((study.folder / "figures").glob(".*"))


def test_those_of_the_paper_and_ours_have_their_names_and_numbers():
    """Those that a report makes where nobody says which."""
    assert sorted(path.name for path in (studies.nasty().folder / "figures").iterdir()) == [
        "fig01_attention.svg", "fig02_pipeline.svg", "fig03_heatmap.svg", "fig04a_views.svg", "fig04b_l2_density.svg",
        "fig04c_cosine_histogram.svg", "fig04d_dendrogram.svg", "fig05_radar.svg", "fig06_profile.svg",
        "fig07_l2_bars.svg", "fig08a_clustermap.svg", "fig08b_metric_bars.svg", "fig09_sample_heatmap.svg",
        "fig14_directions.svg", "fig15_ruler.svg", "fig18_recall.svg", "fig19_gallery.svg", "fig20_roc.svg",
    ]  # fmt: skip


def test_wrong_names_and_formats_are_refused(caplog):
    reader = studies.paper().reader()
    with caplog.at_level(logging.WARNING):
        for wrong, said in (
            ({"names": ["dendogram"]}, "did you mean 'dendrogram'"),
            ({"formats": ["gif"]}, "known: png, svg, pdf"),
            ({"images": ["nowhere.png"], "names": ["views"]}, "nowhere.png: no such image"),
        ):
            with pytest.raises(EmbedshiftError, match=said) as refused:
                save_figures(reader, **wrong)
            assert refused.value.exit_code == 2
