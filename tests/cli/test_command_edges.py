"""What a person mistypes, and what a machine may lack: one line or it works, never a traceback."""

import os
import resource
import subprocess
import sys

import pytest

import embedshift
from embedshift.config.processes import NO_SPACE, without_space
from support import command
from support.matrix import first_only
from support.models import pictures
from support.synthetic import make_study

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("last", [1, 5])
def test_a_function_that_ends_the_program_measures_nothing_without_a_word(cli, last, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    body = f"calls.append(0)\n    sys.exit(0) if len(calls) >= {last} else 0\n    return [(1, 2) for image in images]"
    (tmp_path / f"ends_{last}.py").write_text(f"import sys\ncalls = []\ndef f(images):\n    {body}")
    pictures(tmp_path / "photos", 4)
    model = ["--model", f"python:ends_{last}:f", "--batch-size", "3", "--workers", "0", "--no-report"]
    done = cli("run", "photos", "--out", "out", *model)
    assert done.code == 1
    assert done.line.endswith(("it called sys.exit(0)", "SystemExit: 0"))


@pytest.mark.parametrize(("more", "shell"), first_only([({}, ">&-"), ({}, "<&- >&- 2>&-"), ({"COLUMNS": "0"}, "")]))
def test_a_broken_rule_has_its_code_wherever_its_table_is_printed(more, shell, tmp_path):
    study = make_study(tmp_path / "study", 9, ["noise"])
    rules = tmp_path / "rules.yaml"
    rules.write_text("rules:\n- {table: summary, metric: cosine_similarity, at_least: 0.9999, judge: value}\n")
    command_line = f'exec "$0" -m embedshift check "$1" --rules "$2" {shell}'
    arguments = ["sh", "-c", command_line, sys.executable, study.folder, rules]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, env=command.environment(**more))
    assert (done.returncode, done.stderr) == (3, "")
    assert ("does not pass" in done.stdout) == (not shell)


def test_help_that_is_read_in_part_ends_without_a_word():
    command_line = f'"$0" -m embedshift run --help | head -n 1 > {os.devnull}'
    given = {"capture_output": True, "text": True, "check": True, "env": command.environment()}
    assert subprocess.run(["sh", "-c", command_line, sys.executable], **given).stderr == ""


RUN = """
from embedshift.cli import main
from embedshift.encoders import ENCODERS
from support.mean_colour import MeanColour

ENCODERS.add("mean", lambda **_settings: MeanColour())
main()
"""
ASCII = {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.matrix
def test_names_are_the_same_in_a_locale_of_ascii(tmp_path):
    photos = pictures(tmp_path / "photos", 2)
    (photos / "picture-00.png").rename(photos / "é猫.png")
    (photos / "ü.jpg").write_bytes(b"no image")
    arguments = ["run", photos, "--out", tmp_path / "out", "--model", "mean", "--no-report", "--workers", "0"]
    done = command.finish(command.start_python(RUN, *arguments, **ASCII))
    assert done.code == 0, done.err
    study = embedshift.load(tmp_path / "out")
    assert set(study.rows().collect()["image_id"]) == {"é猫.png", "picture-01.png"}
    assert study.failures()["image_id"].to_list() == ["ü.jpg"]
    for command_line in (["report", study.folder, "--figures", "views"], ["verify", study.folder]):
        done = command.finish(command.start(*command_line, **ASCII))
        assert done.code == 0, done.err
    page = (study.folder / "report.html").read_text(encoding="utf-8")
    assert ("é猫.png" in page, "could not be read again" in page) == (True, False)


PRINTS = """
import logging, os, sys, warnings
from embedshift.cli.terminal import set_up_logging

set_up_logging(sys.argv[1] == "quiet", str)
os.write(2, b"TIFFReadDirectory: what a library of C prints")
warnings.warn("what a library of Python warns of")
logging.getLogger("matplotlib.font_manager").warning("findfont")
logging.getLogger("embedshift").info("our own step")
logging.getLogger("embedshift").warning("our own warning")
"""


@pytest.mark.parametrize("how", ["quiet", "as ever"])
def test_quiet_lets_nothing_through_but_our_own_warnings(how):
    done = subprocess.run([sys.executable, "-c", PRINTS, how], capture_output=True, text=True, check=True)
    said = ["own warning", "TIFF", "of Python", "findfont", "own step"]
    assert [words for words in said if words in done.stderr] == (said[:1] if how == "quiet" else said)


@pytest.mark.parametrize("megabytes", first_only([700, 1_200]))
def test_too_little_address_space_is_one_line(tmp_path, megabytes):
    (tmp_path / "photos").mkdir()
    limit = megabytes * 2**20
    program = "from embedshift.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "run", tmp_path / "photos", "--out", tmp_path / "out"],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert " ".join(done.stderr.split()) == f"error: {NO_SPACE}"


def test_a_library_without_space_is_one_line(monkeypatch, cli):
    def load(*_arguments, **_settings):
        raise ImportError("libtorch_cpu.so: failed to map segment from shared object")

    monkeypatch.setattr("embedshift.study.load", load)
    done = cli("report", "study")
    assert (done.code, done.line) == (1, f"error: {NO_SPACE}")
    assert without_space(ImportError("x.so: Cannot allocate memory"))
    assert not without_space(ImportError("No module named 'x'"))
