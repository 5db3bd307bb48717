"""What a run of families prints."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from embedshift.cli.results import legend, result_tables
from embedshift.statistics.strengths import in_words, interval_in_words
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


@pytest.mark.parametrize("images", [40, 120])
def test_where_a_search_misses_has_its_interval_and_the_safe_end_is_named(tmp_path, images):
    """`darker` rises; `closer` falls where it is stronger: its safe end is the upper one.

    If none of 40 images is missed, Clopper and Pearson's upper end is 8.8 %.
    """
    study = make_study(
        tmp_path / "study", images, graded(DARKER, CLOSER), dim=3, effect={"darker@3": 0.4, "closer@2": 0.5}
    )
    rows = {row["family"]: row for row in study.tolerance().filter(criterion="missed 5 %").to_dicts()}
    text = printed(study)
    for family, row in rows.items():
        line = next(line for line in text.splitlines() if line.split()[:1] == [family])
        assert (
            f"{in_words(row['value'], row['unit'])} ({interval_in_words(row['low'], row['high'], row['unit'])})" in line
        )
    safe = {"darker": rows["darker"]["low"], "closer": rows["closer"]["high"]}
    assert all(end is not None for end in safe.values())
    said = ", ".join(f"{family} {in_words(end, rows[family]['unit'])}" for family, end in safe.items())
    words = f"Where may I stop? With 95 % confidence a search misses at most 5 % up to {said}."
    if images == 40:
        words = "Where may I stop? 40 are too few to show that a search misses at most 5 %."
    assert words in [*legend(study)]


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
