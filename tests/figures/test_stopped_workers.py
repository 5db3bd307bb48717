"""A process that renders figures and is stopped (SIGSTOP) holds up nothing, and is not left behind."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest
from test_render import PARENT, figure, three_cores

from embedshift.figures import workers
from embedshift.figures.render import render
from embedshift.figures.workers import Renderers
from support import command
from support.matrix import first_only
from support.processes import children, state

pytestmark = pytest.mark.slow


def stop_all():
    pids = [process.pid for process in multiprocessing.active_children()]
    assert len(pids) == 2
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)


def test_figures_are_rendered_here_when_the_processes_are_stopped(monkeypatch):
    three_cores(monkeypatch)
    monkeypatch.setattr(workers, "_PATIENCE", 1.0)
    with Renderers(8) as renderers:
        stop_all()
        started = time.monotonic()
        found = dict(renderers.render_all([(k, figure(str(k)), None) for k in range(6)], ["svg"]))
    assert found == {k: render(figure(str(k)), ["svg"]) for k in range(6)}
    assert time.monotonic() - started < 20, "the patience is that of one figure, not of every one"
    assert multiprocessing.active_children() == []


@pytest.mark.matrix
@pytest.mark.parametrize("error", first_only([None, KeyboardInterrupt]))
def test_leaving_ends_processes_that_are_stopped(error, monkeypatch):
    three_cores(monkeypatch)
    with pytest.raises(error) if error else Renderers(1), Renderers(8) as renderers:
        list(renderers.render_all([(0, figure(), None)], ["svg"]))
        stop_all()
        if error:
            raise error
    assert multiprocessing.active_children() == []
    assert children() == []


@pytest.mark.matrix
@pytest.mark.parametrize("number", first_only([signal.SIGKILL, signal.SIGTERM, signal.SIGINT]))
def test_stopped_processes_end_with_the_process_that_started_them(number):
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    time.sleep(5)  # their start
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    parent.send_signal(number)
    parent.wait(20)
    for _ in range(100):
        if all(state(pid) in "XZ" for pid in pids):
            return
        time.sleep(0.05)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    raise AssertionError("stopped processes are left")


@pytest.mark.matrix
def test_a_parent_that_leaves_at_once_leaves_no_warning_behind(monkeypatch):
    """The process that removes its semaphores says nothing after the last line of a command that was stopped."""
    # Under coverage the process that removes them would be measured, and warn that it ran nothing of the package.
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
    program = "import os; os.sched_getaffinity = lambda _: {0, 1, 2}\n"
    program += "from embedshift.figures.workers import Renderers\nRenderers(8).__enter__()\nos._exit(3)"
    process = command.start_python(program)
    assert command.finish(process, timeout=60) == command.Done(3, "", "")
