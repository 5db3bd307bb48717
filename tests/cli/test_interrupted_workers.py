"""Ctrl-C in a terminal reaches every process of a command, also those for figures that still import."""

import os
import signal
import time

import pytest

from embedshift.cli.signals import STOPPED
from support import command
from support.matrix import first_only

pytestmark = pytest.mark.slow
STARTS = """
import os, sys, time
from embedshift.cli import app, main
from embedshift.figures import workers

workers.cores = lambda: 3

def stay():
    with workers.Renderers(8) as renderers:
        print("waiting", flush=True)
        time.sleep(60)

app.command("stay")(stay)
sys.argv[1:] = ["stay"]
main()
"""


@pytest.mark.parametrize("seconds", first_only([0.3, 0.0, 0.1, 0.6, 1.0]))
@pytest.mark.parametrize("number", first_only([signal.SIGINT, signal.SIGTERM]))
def test_a_process_that_imports_prints_no_traceback(number, seconds):
    process = command.start_python(STARTS)
    assert process.stdout.readline() == "waiting\n"
    time.sleep(seconds)
    os.killpg(process.pid, number)
    assert command.finish(process, timeout=30) == command.Done(128 + number, "", f"error: {STOPPED}\n")
