"""What a terminal shows: names and errors of somebody else's, which steer nothing, and lines of progress."""

import json
import logging
import re
import time
from types import SimpleNamespace

import pytest

from embedshift.cli import terminal
from embedshift.cli.outputs import printable, say
from embedshift.cli.terminal import print_grid
from embedshift.study.result import Grid
from support.command import untouched_logging

HOSTILE = "a\x1b]0;x\x07b\x1b[2Jc\nd\u202egpj.e\x9b31mf"
SHOWN = r"a\x1b]0;x\x07b\x1b[2Jc\nd\u202egpj.e\x9b31mf"
STEERING = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def is_harmless(text):
    return STEERING.search(text) is None


def test_every_character_that_steers():
    for code in (*range(0x20), *range(0x7F, 0xA0), 0x61C, 0x200E, 0x2028, 0x202A, 0x202E, 0x2066, 0x2069):
        shown = printable(f"a{chr(code)}b")
        assert shown.isascii()
        assert shown.isprintable()
    assert printable("café 猫 \U0001f468\u200d\U0001f469 a\\b") == "café 猫 \U0001f468\u200d\U0001f469 a\\b"
    assert printable(HOSTILE) == SHOWN


def test_lines_and_tables(capsys):
    with untouched_logging():
        terminal.set_up_logging(True, str)
        logging.getLogger("embedshift").warning("a file %s", HOSTILE)
    assert capsys.readouterr().err == f"warning: a file {SHOWN}\n"
    say(HOSTILE)
    rows = [[f"[/] {HOSTILE} :smile:", f"broken: {HOSTILE}"]]
    print_grid(Grid([f"[red]{HOSTILE}", "state"], ("name", "outcome"), rows, HOSTILE, "[bold]plain[/]"))
    out = capsys.readouterr().out
    assert is_harmless(out)
    say(json.dumps({HOSTILE: "é"}))
    assert json.loads(capsys.readouterr().out) == {HOSTILE: "é"}
    assert out.startswith(f"{SHOWN}\n")
    for words in (
        "[bold]plain[/]",
        f"[red]{SHOWN.split(chr(92) + 'n')[0]}",
        f"[/] {SHOWN.split(chr(92) + 'n')[0]}",
        ":smile:",
    ):
        assert words in out


def test_errors_that_name_a_file(cli, tmp_path):
    for arguments in (["run", tmp_path / HOSTILE, "--out", "x"], ["report", tmp_path / HOSTILE], ["list", HOSTILE]):
        done = cli(*arguments)
        assert done.code == 2
        assert is_harmless(done.line)
        assert r"\x1b]0;x\x07b\x1b[2J" in done.line
    for arguments in (["list", "metrics", HOSTILE], [HOSTILE], ["run", f"--{HOSTILE}"]):
        done = cli(*arguments)
        assert done.code == 2
        assert is_harmless(done.err)
        assert r"\x1b" in done.err


# The lines of progress without a terminal: images done, their rate and the time left.
START = {"done": 4, "images": 24, "state": "resumed", "out": "study", "skipped": {}, "note": str}


@pytest.fixture
def clock(monkeypatch):
    """The seconds that the lines see."""
    now = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(terminal, "time", SimpleNamespace(monotonic=lambda: now.seconds))
    return now


def test_the_first_step_is_said_at_once_and_silence_is_broken(monkeypatch, caplog):
    monkeypatch.setattr(terminal, "LINE_SECONDS", 0.01)
    caplog.set_level(logging.INFO, "embedshift")
    with terminal.repeating("reading libraries"):
        assert caplog.messages[0] == "reading libraries"
        while len(caplog.messages) < 4:
            time.sleep(0.01)
    count = len(caplog.messages)
    assert all(re.fullmatch(r"still at work, \d+ s", line) for line in caplog.messages[1:])
    time.sleep(0.5)
    assert len(caplog.messages) <= count + 1  # it ends with the block


def test_no_line_has_a_rate_before_an_image_is_measured(clock, caplog):
    caplog.set_level(logging.INFO, "embedshift")
    with terminal.progress(False) as (on_start, step):
        on_start(SimpleNamespace(**START))
        clock.seconds += 60
        step(0)  # as a device's process says that its encoder is loaded
        assert len(caplog.messages) == 3
        clock.seconds += 60
        step(10)
    assert caplog.messages[-1] == "14 of 24 images, 12.0 s/image, 120 s of measuring left"


def test_a_number_is_never_cut_and_a_heading_is_folded(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    rows = [["mirror", "47,000 (46,000 to 48,000)", "1,234,567.89"], [], ["crop", "–", "1"]]
    grid = Grid(("change", "images that are really needed", "a very long heading"), ("name", "number"), rows)
    print_grid(grid)
    out = capsys.readouterr().out
    assert all(cell in out for row in rows for cell in row)
    assert "images that are really needed" not in out, "folded"
    assert max(map(len, out.splitlines())) <= 60
    narrow = Grid(("change",), ("name",), [["mirror"]], "instead")
    print_grid(Grid(grid.headings, grid.kinds, [["m" * 50, *rows[0][1:]]], narrow=[narrow]))
    assert "instead" in capsys.readouterr().out
