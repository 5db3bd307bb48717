"""Any questions but the embedding's can be missing from the registry: studies still run and report."""

import itertools

import polars as pl
import pytest

import embedshift
from embedshift.cli.results import result_tables
from embedshift.figures import FIGURES, FigureInput
from embedshift.figures.output import study_figures
from embedshift.registry import METRICS, QUESTIONS, questions
from embedshift.statistics.summary import RADAR_METRICS
from embedshift.store.table import tables_of
from embedshift.study.gate.rules import TABLES
from support import models, studies
from support.matrix import first_only

pytestmark = pytest.mark.slow

OPTIONAL = [each.name for each in questions() if each.name != "embedding"]
SWITCHES = {
    "layers": {"layers": True},
    "heads": {"heads": True},
    "maps": {"maps": ("relevance",)},
    "text": {"text": True, "words": {"mirror": "a mirrored photo"}},
}
OWN = {"mirror": lambda image, rng: image[:, ::-1], "dark": lambda image, rng: image // 3}
# The file of the figure, the table, the section and the columns that a question has and no other.
TRACES = {
    "attention": ("fig01_attention", None, None, {"attention_similarity"}),
    "strength": (None, None, None, set()),  # it says nothing of augmentations without strength
    "pixels": (None, None, None, {"patch_similarity", "edge_preservation", "detail_preservation"}),
    "profile": ("fig03_heatmap", None, "summary", set()),
    "clusters": ("fig04d_dendrogram", "clusters", None, {"pairwise"}),
    "direction": ("fig14_directions", "directions", "direction", set()),
    "search": ("fig18_recall", "search", "search", set()),
    "whitening": (None, None, "whitening", set()),  # its table is made on request
    "geometry": (None, "geometry", "geometry", set()),
    "variance": (None, None, None, set()),  # it says nothing of one draw
    "worst_case": (None, None, None, set()),  # it says nothing of what no attack made
    "claims": (None, "claims", "claims", set()),
    "layers": ("fig10_depth", "layers", "layers", {"layer_l2_cls"}),
    "heads": ("fig21_heads_map", "heads", "heads", {"heads"}),
    "maps": ("fig26_maps_moved", "maps", "maps", {"map_relevance"}),
    "text": ("fig13_words", "words", "text", {"word_cosines"}),
    "examples": ("fig04a_views", None, "gallery", set()),
    "own_metrics": (None, None, None, set()),  # it says nothing without functions of the user
}
# What stands on the first screen, and the methods of `Study`.
ANSWERS = {
    "search": ("Does image search still find the original?", ("search", "thresholds", "duplicates")),
    "examples": ("Which images have the largest shift?", ()),
}
# Each question is missing in two of the studies, and no two questions in the same two: of every two, one is once there
# without the other, in whole studies that are far fewer than the questions.
STUDIES = 7
MISSING = dict(zip(OPTIONAL, itertools.combinations(range(STUDIES), 2), strict=False))


def leave_out(names, monkeypatch):
    """Takes questions away, with the metrics and figures that they brought."""
    for registry in (METRICS, FIGURES):
        kept = {each: registry[each] for each in registry if registry[each].question not in names}
        monkeypatch.setattr(registry, "_entries", kept)
    tables = {table.name for name in names for table in tables_of([QUESTIONS[name]])}
    monkeypatch.setattr(TABLES, "_entries", {name: TABLES[name] for name in TABLES if name not in tables})
    monkeypatch.setattr(QUESTIONS, "_entries", {each: QUESTIONS[each] for each in QUESTIONS if each not in names})


def test_every_question_is_tried():
    assert set(TRACES) == set(OPTIONAL) == set(MISSING)


@pytest.mark.matrix
@pytest.mark.parametrize("number", first_only([*range(STUDIES), None]))
def test_without_them_the_others_run_and_report(number, tmp_path, monkeypatch):
    missing = {name for name in OPTIONAL if number in MISSING[name]}
    leave_out(missing, monkeypatch)
    given = [switches for name, switches in SWITCHES.items() if name not in missing]
    switches = {key: value for each in given for key, value in each.items()}
    given = {"model": models.vision_and_letters(), "augmentations": OWN, "workers": 0} | switches
    study = embedshift.run(studies.pictures(5), out=tmp_path / "study", **given)
    every = number in (None, 0)  # the others draw one figure: all of them take long
    html = study.report(figures=None if every else ["ruler"], formats=["svg"]).read_text()
    columns = set(study.rows().collect_schema())
    figures = {kind.stem for kind in study_figures(FigureInput(study.reader()))}
    assert not every or {path.stem for path in (study.folder / "figures").iterdir()} == figures
    for each, (figure, table, section, names) in TRACES.items():
        there = each not in missing
        assert figure is None or (figure in figures) == there, figure
        assert table is None or (table in study.table_names) == there
        assert table is None or (study.folder / "tables" / f"{table}.csv").is_file() == there
        assert section is None or (f'<section id="{section}"' in html) == there
        assert names <= columns if there else not names & columns
    for question, (title, tables) in ANSWERS.items():
        there = question not in missing
        assert (f"<dt>{title}</dt>" in html) == there, title
        for name in tables:
            assert hasattr(study, name) == there
            assert (name in dir(study)) == there
    rule = {"table": "search", "metric": "recall@1", "at_least": 0.1, "judge": "value"}
    if "search" in missing:
        with pytest.raises(embedshift.EmbedshiftError, match="unknown table"):
            embedshift.check(study, [rule])
    else:
        assert embedshift.check(study, [rule]).results
    # What the command line prints of a study.
    assert [table.title for table, _ in result_tables(study)]
    radar = [metric for metric in RADAR_METRICS if metric in METRICS]
    means = study.summary().filter(pl.col("metric").is_in(radar)).group_by("augmentation").agg(pl.col("mean").mean())
    wanted = dict(means.iter_rows())
    assert dict(study.ranking().select("augmentation", "mean_performance").iter_rows()) == pytest.approx(wanted)


def test_a_switch_of_a_question_that_is_not_there_is_unknown(tmp_path, monkeypatch):
    leave_out({"layers"}, monkeypatch)
    with pytest.raises(
        embedshift.EmbedshiftError, match=r"unknown setting 'layers'.* Known: images, model, "
    ) as caught:
        embedshift.run(studies.pictures(5), out=tmp_path / "study", model=models.vision_and_letters(), layers=True)
    assert caught.value.exit_code == 2
