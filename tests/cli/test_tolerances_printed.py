"""What a run of families prints."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from embedshift.cli.results import result_tables
from support import studies
from support.graded import CLOSER, DARKER, MADE, corruption, graded
from support.synthetic import make_study

pytestmark = pytest.mark.slow


def printed(study):
    console = Console(file=io.StringIO(), width=160)
    for table, _ in result_tables(study):
        console.print(table)
    return console.file.getvalue()


def test_of_many_views_the_tolerances_alone(tmp_path):
    many = [*MADE, replace(DARKER, name="other"), replace(CLOSER, name="stronger")]
    study = make_study(tmp_path / "study", 10, graded(*many))
    text = printed(study)
    rows = {line.split()[0]: line for line in text.splitlines() if line.strip()}
    value = study.tolerance().filter(family="darker")["value"][0]
    relative_shift = study.strength().filter(family="darker", level=5, metric="cosine_similarity")["relative_shift"][0]
    assert f"stops {value:#.2g}" in rows["darker"]
    assert rows["darker"].split()[-1] == f"{relative_shift:.3f}"
    assert {"closer", "once", "other", "stronger"} <= {*rows}
    assert "darker@1" not in text


@pytest.mark.matrix
def test_of_few_views_the_tolerances_first():
    text = printed(studies.families())
    assert text.index("tolerance") < text.index("darker@5")
    assert "other images" in text


def test_of_other_augmentations_the_summary_alone():
    assert "tolerance" not in printed(studies.plain())


def test_of_corruptions_the_mean_too(tmp_path):
    study = make_study(tmp_path / "study", 10, graded(corruption("fog"), corruption("snow")))
    _, _, relative_shift, low, high = study.table("corruption").row(-1)
    assert f"mean corruption shift {relative_shift:.3f}, 95 % interval {low:.3f} to {high:.3f}" in printed(study)
