"""Tables of every command fit a terminal of 80 characters; a file or a pipe gets 140, which hold every column here."""

import re

import pytest
import yaml

from embedshift.cli.results import result_tables
from embedshift.cli.terminal import print_table
from embedshift.study import Study
from support import studies
from support.comparing import C, three_studies
from support.synthetic import make_study

pytestmark = pytest.mark.slow

RULES = [
    {
        "name": "small relative shifts",
        "table": "summary",
        "metric": "cosine_similarity",
        "column": "relative_shift",
        "at_most": 0.5,
    },
    {"table": "search", "metric": "recall@1", "at_least": 0.9},
]


# Lines that are no part of a table.
SENTENCES = ("synthetic-encoder", "other", "warning: ", "Tables: ", "All ", "No duplicates", "a does not pass")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Studies under short names: `a` with the paper's augmentations, `b` and `c` of other encoders, `families`."""
    folder = tmp_path_factory.mktemp("width")
    three_studies(make_study(folder / "a", 24, seed=3), folder)
    studies.copied(studies.families(), folder / "families")
    (folder / "rules.yaml").write_text(yaml.safe_dump({"rules": RULES}))
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
        for table, spare in result_tables(arguments[1]):
            print_table(table, spare)
        return capsys.readouterr().out

    return of


COMMANDS = [
    ("compare", "a", "b"),
    pytest.param(("compare", "a", "b", "c"), marks=pytest.mark.matrix),
    ("search", "a", "--false-match-rate", "0.1"),
    ("check", "a"),
    ("verify", "a"),
]


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_80_characters_hold_every_table(printed, arguments):
    text = printed(80, *arguments)
    assert len(text.splitlines()) > 5
    assert [line for line in text.splitlines() if len(line) > 80 and not line.startswith(SENTENCES)] == []
    assert ("…" in text) == (arguments[0] == "verify"), "nothing is cut; verify counts its other files"
    assert arguments[0] == "verify" or "brightness_contrast" in text, "no name is broken"


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
    for heading in ("95 % interval", "cosine"):
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
