"""A signal that arrives inside a library in C still ends the command with its one line and its code."""

import signal
import time

import pytest

from embedshift.cli.signals import STOPPED
from support import command
from support.matrix import first_only
from support.synthetic import make_study

pytestmark = pytest.mark.slow
# As pybind11 does where Python code that it calls raises: matplotlib's transforms end so while figures are drawn.
SWALLOWS = """
import sys, time
from embedshift.cli import app, main

def stay():
    try:
        print("waiting", flush=True)
        time.sleep(60)
    except BaseException:
        error = {error}
    raise error

app.command("stay")(stay)
sys.argv[1:] = ["stay"]
main()
"""
IN_A_DESTRUCTOR = """
import sys, time
from embedshift.cli import app, main

class Slow:
    def __del__(self):
        print("waiting", flush=True)
        time.sleep(60)

def stay():
    thing = Slow()
    del thing
    time.sleep(60)

app.command("stay")(stay)
sys.argv[1:] = ["stay"]
main()
"""


@pytest.mark.parametrize("number", first_only([signal.SIGINT, signal.SIGTERM]))
@pytest.mark.parametrize(
    "program",
    first_only(
        [
            SWALLOWS.format(error="TypeError('affine_transform(): incompatible function arguments')"),
            SWALLOWS.format(error="OSError(5, 'Input/output error')"),
            IN_A_DESTRUCTOR,
        ]
    ),
)
def test_an_error_made_of_the_signal_is_not_printed(number, program):
    process = command.start_python(program)
    assert process.stdout.readline() == "waiting\n"
    process.send_signal(number)
    assert command.finish(process, timeout=30) == command.Done(128 + number, "", f"error: {STOPPED}\n")


@pytest.mark.matrix
@pytest.mark.parametrize("seconds", first_only([0.7, 0.0, 1.4, 2.1]))
def test_a_report_that_is_stopped_while_it_draws(seconds, tmp_path):
    folder = make_study(tmp_path / "study", 12, ["noise", "blur"]).folder
    process = command.start("report", folder)
    assert any("drawing the figures" in line for line in process.stderr)
    time.sleep(seconds)
    process.send_signal(signal.SIGTERM)
    done = command.finish(process, timeout=30)
    assert "Traceback" not in done.err
    if "report.html" in done.out:  # it had ended before the signal came: Python itself was leaving
        assert done.code in (0, -signal.SIGTERM)
    else:
        assert (done.code, done.err.splitlines()[-1]) == (143, f"error: {STOPPED}")
