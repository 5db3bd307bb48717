"""A process of a device that is stopped (SIGSTOP) is ended, and the run with one line; none is left behind."""

import os
import signal
import time

import pytest
from test_devices import ENDLESS, given, photos, started  # noqa: F401 - fixtures

from embedshift import EmbedshiftError
from embedshift.engines import local as devices
from support import command, models
from support.matrix import first_only
from support.processes import children, descendants, group_is_gone

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("before", first_only(["import", "shards"]))
def test_a_process_that_is_stopped_is_ended_with_one_line(before, given, started, monkeypatch):  # noqa: F811
    monkeypatch.setattr(devices, "SILENCE", 4.0 if before == "import" else 20.0)
    monkeypatch.setattr(devices, "WORD", 1.0)
    stopped = []

    def stop(_count=0):
        if not stopped:
            stopped.append(started[1])
            os.kill(started[1].pid, signal.SIGSTOP)

    hand_out = devices._hand_out
    if before == "import":
        monkeypatch.setattr(devices, "_hand_out", lambda *arguments: stop() or hand_out(*arguments))
    else:
        given = *given[:3], lambda count: count and stop()
    words = r"^the process of device cpu did not answer for \d+ s, perhaps because it was stopped, and was ended\. Run"
    with pytest.raises(EmbedshiftError, match=words):
        list(devices.run_on_devices(*given))
    assert stopped
    assert children() == []


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
