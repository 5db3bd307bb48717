"""Any questions but the embedding's can be missing from the registry: studies still run and report."""

import itertools

import polars as pl
import pytest

import embedshift
from embedshift.figures import FIGURES
from embedshift.registry import METRICS, QUESTIONS, questions
from embedshift.statistics.summary import RADAR_METRICS
from embedshift.store.table import tables_of
from support import models, studies
from support.inside import TABLES, result_grids

pytestmark = pytest.mark.slow

OPTIONAL = [each.name for each in questions() if each.name != "embedding"]
SWITCHES = {
    "layers": {"layers": True},
    "heads": {"heads": True},
    "maps": {"maps": ("relevance",)},
    "text": {"text": True, "words": {"mirror": "a mirrored photo"}},
}
OWN = {"mirror": lambda image, rng: image[:, ::-1], "dark": lambda image, rng: image // 3}
# Each question is missing in two of the studies, and no two questions in the same two: of every two, one is once there
# without the other, in whole studies that are far fewer than the questions.
STUDIES = 8
MISSING = dict(zip(OPTIONAL, itertools.combinations(range(STUDIES), 2), strict=False))
assert len(MISSING) == len(OPTIONAL)


def leave_out(names, monkeypatch):
    """Takes questions away, with the metrics and figures that they brought; the names of their metrics and tables."""
    metrics = {each for each in METRICS if METRICS[each].question in names}
    for registry in (METRICS, FIGURES):
        kept = {each: registry[each] for each in registry if registry[each].question not in names}
        monkeypatch.setattr(registry, "_entries", kept)
    tables = {table.name for name in names for table in tables_of([QUESTIONS[name]])}
    monkeypatch.setattr(TABLES, "_entries", {name: TABLES[name] for name in TABLES if name not in tables})
    monkeypatch.setattr(QUESTIONS, "_entries", {each: QUESTIONS[each] for each in QUESTIONS if each not in names})
    return metrics, tables


@pytest.mark.matrix
@pytest.mark.parametrize("number", range(STUDIES))
def test_without_them_the_others_run_and_report(number, tmp_path, monkeypatch):
    missing = {name for name in OPTIONAL if number in MISSING[name]}
    metrics, tables = leave_out(missing, monkeypatch)
    switches = {key: value for name in {*SWITCHES} - missing for key, value in SWITCHES[name].items()}
    given = {"model": models.vision_and_letters(), "augmentations": OWN, "workers": 0} | switches
    study = embedshift.run(studies.pictures(5), out=tmp_path / "study", **given)
    # All figures of one study only: they take long.
    html = study.report(figures=["ruler"] if number else None, formats=["svg"]).read_text()
    assert not metrics & {*study.rows().collect_schema()}
    assert not tables & ({*study.table_names} | {path.stem for path in (study.folder / "tables").iterdir()})
    assert [name for name in missing if f'<section id="{name}"' in html] == []
    assert ("search" in dir(study)) == hasattr(study, "search") == ("search" not in missing)
    if "search" in missing:
        with pytest.raises(embedshift.EmbedshiftError, match="unknown table"):
            embedshift.check(study, [{"table": "search", "metric": "recall@1", "at_least": 0.1, "judge": "value"}])
    # What the command line prints of a study.
    assert [grid.title for grid in result_grids(study)]
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
