"""What the tables of commands show: in 80 characters of a terminal, in the 140 of a pipe, and of families."""

import math
import re
from dataclasses import replace

import pytest

from embedshift.cli.terminal import print_grid
from embedshift.statistics.strengths import in_words, interval_in_words
from embedshift.study import Study
from support import studies
from support.comparing import C, three_studies
from support.graded import CLOSER, DARKER, MADE, corruption, graded
from support.inside import legend, result_grids
from support.matrix import first_only
from support.synthetic import make_study

pytestmark = pytest.mark.slow

RULES = """
rules:
- {name: small relative shifts, table: summary, metric: cosine_similarity, column: relative_shift, at_most: 0.5}
- {table: search, metric: recall@1, at_least: 0.9}
"""
# Lines that are no part of a table.
SENTENCES = (
    "synthetic-encoder",
    "other",
    "warning: ",
    "Tables: ",
    "All ",
    "No duplicates",
    "a does not pass",
    "No index",
    "A match has",
    "Calibrated with",
    "Score: ",
    "is_match = ",
    "Searched: ",
    "Written: ",
    "Written: ",
    "  x =",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Studies under short names: `a` with the paper's augmentations, `b` and `c` of other encoders, `families`."""
    folder = tmp_path_factory.mktemp("width")
    three_studies(make_study(folder / "a", 24, seed=3), folder)
    studies.copied(studies.families(), folder / "families")
    (folder / "rules.yaml").write_text(RULES)
    return folder


@pytest.fixture
def printed(folder, cli, capsys, monkeypatch):
    """What a command prints, or a run of a study, on a terminal of some width; None = a pipe."""
    monkeypatch.chdir(folder)

    def of(width, *arguments):
        monkeypatch.delenv("COLUMNS", raising=False)
        if width is not None:
            monkeypatch.setenv("COLUMNS", str(width))
        if arguments[0] != "run":
            return cli(*arguments).out
        capsys.readouterr()
        for grid in result_grids(arguments[1]):
            print_grid(grid)
        return capsys.readouterr().out

    return of


COMMANDS = [
    ("compare", "a", "b"),
    pytest.param(("compare", "a", "b", "c"), marks=pytest.mark.matrix),
    ("search", "a", "--false-match-rate", "0.1"),
    ("check", "a"),
    ("verify", "a"),
    ("index", "a", "int8", "--out", "index.npz"),
    ("threshold", "a", "--wrong-queries", "0.2", "--out", "threshold.npz"),
]


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_80_characters_hold_every_table(printed, arguments):
    text = printed(80, *arguments)
    assert len(text.splitlines()) > 5
    assert [line for line in text.splitlines() if len(line) > 80 and not line.startswith(SENTENCES)] == []
    assert ("…" in text) == (arguments[0] == "verify"), "nothing is cut; verify counts its other files"
    assert arguments[0] in ("verify", "index", "threshold") or "brightness_contrast" in text, "no name is broken"


def test_no_interval_of_a_comparison_is_broken(printed):
    for width, tables in ((80, 2), (140, 1)):
        shifts = printed(width, "compare", "a", "b").partition("means, and differences")[0]
        assert shifts.count("  blur ") == tables
        assert [line for line in shifts.splitlines() if re.fullmatch(r" +\(?-?[+\d.]+( to)?\)?( \*)?.*", line)] == []


@pytest.mark.parametrize("name", ["a", "families"])
def test_a_run_leaves_columns_out_and_names_them(printed, folder, name):
    study = Study(folder / name)
    narrow, piped = printed(80, "run", study), printed(None, "run", study)
    assert max(map(len, narrow.splitlines())) <= 80
    for heading in ("95 % interval", "missed", "relative"):
        assert heading in narrow
    assert "Left out on 80 characters: detail, edge, patch, cluster, mean performance" in narrow
    assert "detail" not in narrow.partition("Left out on 80 characters: detail")[0]
    assert all(heading in piped for heading in ("detail", "edge", "patch", "performance", "cluster"))
    assert "Left out" not in piped


@pytest.mark.matrix
def test_more_than_two_studies_side_by_side_where_they_fit(printed):
    assert printed(80, "compare", "a", "b", "c").count("reference: ") == 2
    wide = printed(200, "compare", "a", "b", "c")
    assert (wide.count("reference: "), C in wide) == (0, True)


def test_of_many_views_the_tolerances_alone(printed, tmp_path):
    many = [*MADE, replace(DARKER, name="other"), replace(CLOSER, name="stronger")]
    study = make_study(tmp_path / "study", 10, graded(*many))
    text = printed(160, "run", study)
    rows = {line.split()[0]: line for line in text.splitlines() if line.strip()}
    value = study.tolerance().filter(family="darker")["value"][0]
    relative_shift = study.strength().filter(family="darker", level=5, metric="cosine_similarity")["relative_shift"][0]
    assert f"stops {value:#.2g}" in rows["darker"]
    assert rows["darker"].split()[-1] == f"{relative_shift:.3f}"
    assert {"closer", "once", "other", "stronger"} <= {*rows}
    assert "darker@1" not in text


@pytest.mark.parametrize("images", first_only([40, 120]))
def test_where_a_search_misses_has_its_interval_and_the_safe_end_is_named(printed, tmp_path, images):
    """`darker` rises; `closer` falls where it is stronger: its safe end is the upper one.

    If none of 40 images is missed, Clopper and Pearson's upper end is 8.8 %.
    """
    effect = {"darker@3": 0.4, "closer@2": 0.5}
    study = make_study(tmp_path / "study", images, graded(DARKER, CLOSER), dim=3, effect=effect)
    rows = {row["family"]: row for row in study.tolerance().filter(criterion="missed 5 %").to_dicts()}
    text = printed(160, "run", study)
    for family, row in rows.items():
        line = next(line for line in text.splitlines() if line.split()[:1] == [family])
        interval = interval_in_words(row["low"], row["high"], row["unit"])
        assert f"{in_words(row['value'], row['unit'])} ({interval})" in line
    safe = {"darker": rows["darker"]["low"], "closer": rows["closer"]["high"]}
    assert all(end is not None for end in safe.values())
    said = ", ".join(f"{family} {in_words(end, rows[family]['unit'])}" for family, end in safe.items())
    words = f"Where may I stop? With 95 % confidence a search misses at most 5 % up to {said}."
    if images == 40:
        words = "Where may I stop? 40 are too few to show that a search misses at most 5 %."
    assert words in [*legend(study)]


def test_of_few_views_the_tolerances_first_and_of_other_augmentations_none(printed, tmp_path):
    text = printed(160, "run", studies.families())
    assert text.index("tolerance") < text.index("darker@5")
    assert "other images" in text
    assert "tolerance" not in printed(160, "run", studies.plain())
    # Of corruptions the mean, too.
    study = make_study(tmp_path / "study", 10, graded(corruption("fog"), corruption("snow")))
    _, _, relative_shift, low, high = study.table("corruption").row(-1)
    ends = f"{math.floor(1e3 * low) / 1e3:.3f} to {math.ceil(1e3 * high) / 1e3:.3f}"
    assert f"mean corruption shift {relative_shift:.3f}, 95 % interval {ends}" in printed(160, "run", study)
