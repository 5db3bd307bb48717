"""A run that ends leaves no process of a device behind, stopped (SIGSTOP) or not."""

import os
import signal
import time

import pytest
from test_devices import ENDLESS

from support import command, models
from support.matrix import first_only
from support.processes import descendants, group_is_gone

pytestmark = pytest.mark.slow


@pytest.mark.matrix
@pytest.mark.parametrize("number", first_only([signal.SIGINT, signal.SIGKILL]))
def test_whatever_ends_a_run_leaves_no_stopped_process_behind(number, tmp_path):
    """Both processes of the devices are stopped, and the loader of one."""
    folder = models.pictures(tmp_path / "photos", 10)
    process = command.start_python(ENDLESS, folder, tmp_path / "study")
    assert process.stdout.readline().strip().isdigit()
    found = descendants(process.pid)
    while len(found) < 4:  # each device and its loader
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
        found = descendants(process.pid)
    time.sleep(2)  # a loader that has hardly begun does not end with its device yet
    for pid in found[:3]:
        os.kill(pid, signal.SIGSTOP)
    process.send_signal(number)
    done = command.finish(process, timeout=30)
    assert done.code in (-number, 1)
    assert group_is_gone(process.pid)
