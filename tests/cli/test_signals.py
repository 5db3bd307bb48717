"""Signals end the command within seconds, with one line and its own code, and nothing of it is left."""

import os
import signal
import subprocess
import textwrap
import time

import pytest

from embedshift.cli.signals import SECONDS, STOPPED
from support import command
from support.matrix import first_only
from support.models import pictures
from support.processes import run_python

pytestmark = pytest.mark.slow

# A run whose augmentation waits for a pipe that nobody writes to, as for a file on a disk that has gone.
BLOCKED = """
import os, sys
from embedshift.augmentations import SUITES
from embedshift.augmentations.augmentation import Augmentation
from embedshift.cli import main
from embedshift.encoders import ENCODERS
from support.mean_colour import MeanColour

READS, _WRITES = os.pipe()

def wait(image, rng):
    print("waiting", flush=True)
    os.read(READS, 1)
    return image

ENCODERS.add("mean-colour", lambda **_settings: MeanColour())
SUITES.add("blocked", lambda _choice: [Augmentation("wait", wait)])
main()
"""
# A command without the imports of a run, and what it may wait in.
STAYS = """
import os, signal, sys, time
from embedshift.cli import app, main
from embedshift.cli.signals import SECONDS

class Slow:
    def __del__(self):
        print("waiting", flush=True)
        time.sleep(60)

def stay():
    {body}

app.command("stay")(stay)
{first}
sys.argv[1:] = ["stay"]
main()
"""
SLEEPS = """
print("waiting", flush=True)
try:
    time.sleep(60)
finally:
    time.sleep({rest})
"""
# A read goes on that a signal interrupts, as libraries in C see to; Polars, by its import, for SIGINT alone.
IN_C = """
import polars
for number in (signal.SIGINT, signal.SIGTERM):
    signal.siginterrupt(number, False)
print("waiting", flush=True)
os.read(os.pipe()[0], 1)
"""
# As pybind11 does where Python code that it calls raises: matplotlib's transforms end so while figures are drawn.
SWALLOWS = """
try:
    print("waiting", flush=True)
    time.sleep(60)
except BaseException:
    error = {error}
raise error
"""
IN_A_DESTRUCTOR = """
thing = Slow()
del thing
time.sleep(60)
"""
FORKS = """
child = os.fork()
while not child:  # one long sleep misses a signal that comes just before it
    print(os.getpid(), flush=True)
    time.sleep(0.1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
time.sleep(SECONDS + 1)
"""


def start(body, first="", waits=True):
    process = command.start_python(STAYS.format(body=textwrap.indent(body, "    ").strip(), first=first))
    assert not waits or process.stdout.readline() == "waiting\n"
    return process


def gone(group):
    for _ in range(100):  # loaders look twice a second whether their parent is there
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def stopped(number):
    """How a command ends that has nothing to resume."""
    return command.Done(128 + number, "", f"error: {STOPPED}\n")


@pytest.mark.parametrize(("number", "workers"), first_only([(signal.SIGINT, 0), (signal.SIGTERM, 1)]))
def test_a_signal_ends_a_run_that_waits(number, workers, tmp_path):
    arguments = ["run", pictures(tmp_path / "photos", 2), "--out", tmp_path / "out", "--model", "mean-colour"]
    process = command.start_python(BLOCKED, *arguments, "--augmentations", "blocked", "--workers", workers)
    assert process.stdout.readline() == "waiting\n", process.communicate()
    process.send_signal(number)
    done = command.finish(process, timeout=30)
    assert done.code == 128 + number
    assert done.err.splitlines()[-1] == "error: stopped; run the same command again to resume"
    assert "Traceback" not in done.err
    assert gone(process.pid)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_every_signal_has_its_code(number):
    process = start(SLEEPS.format(rest=60 if number == signal.SIGTERM else 0))
    process.send_signal(number)
    assert command.finish(process, timeout=20) == stopped(number)


@pytest.mark.parametrize("number", first_only([signal.SIGINT, signal.SIGTERM]))
@pytest.mark.parametrize(
    "body",
    [
        IN_C,
        SWALLOWS.format(error="TypeError('affine_transform(): incompatible function arguments')"),
        pytest.param(IN_A_DESTRUCTOR, marks=pytest.mark.matrix),
    ],
    ids=["C", "swallowed", "destructor"],
)
def test_a_signal_ends_what_waits_in_a_library(number, body):
    process = start(body)
    process.send_signal(number)
    assert command.finish(process, timeout=30) == stopped(number)


def test_a_second_ctrl_c_leaves_at_once_without_a_traceback():
    process = start(SLEEPS.format(rest=60))
    started = time.monotonic()
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
    assert command.finish(process, timeout=20) == stopped(signal.SIGINT)
    assert time.monotonic() - started < SECONDS


def test_what_is_ignored_stays_ignored():
    process = start(SLEEPS.format(rest=0), "signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does")
    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=0.5)
    process.send_signal(signal.SIGTERM)
    assert command.finish(process, timeout=20).code == 143


@pytest.mark.matrix
def test_a_forked_process_ends_as_ever_and_its_parent_goes_on():
    process = start(FORKS, waits=False)
    os.kill(int(process.stdout.readline()), signal.SIGTERM)
    assert command.finish(process, timeout=30) == command.Done(0, f"{-signal.SIGTERM}\n", "")
    assert gone(process.pid)


@pytest.mark.parametrize(
    "name", first_only(["pixels.measure:patch_similarity", "pixels.measure:edge_preservation", "strength.measure:rms"])
)
def test_a_signal_during_a_metric_does_not_end_the_process(name):
    """OpenCV's `norm` of two arrays does: it tries one array first, and is not prepared for a signal meanwhile."""
    module, function = name.split(":")
    program = f"""
        import signal
        import numpy as np
        from embedshift.questions.{module} import {function} as metric

        class Signalled(BaseException):
            pass

        def on_signal(*_):
            raise Signalled

        signal.signal(signal.SIGALRM, on_signal)
        black, white = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 255, np.uint8)
        metric(black, white)  # imports OpenCV
        for _ in range(1000):
            try:
                signal.setitimer(signal.ITIMER_REAL, 1e-4 * (1 + np.random.rand()))
                while True:
                    metric(black, white)
            except Signalled:
                pass
        print("whole")
    """
    assert run_python(program) == "whole\n"
