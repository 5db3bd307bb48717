"""Several devices in one machine, as two processes on the CPU: the same rows, and nothing left behind."""

import logging
import os
import signal
import subprocess
from dataclasses import replace

import pytest
import torch

import embedshift
from embedshift import EmbedshiftError
from embedshift.config import StudyConfig, make_config
from embedshift.encoders.spec import EncoderSpec
from embedshift.engines import local as devices
from embedshift.engines.local import run_local
from embedshift.pipeline.prepare import prepared
from embedshift.pipeline.shard import no_progress
from support import command, mean_colour, models, studies
from support.mean_colour import MeanColour
from support.processes import group_is_gone

pytestmark = pytest.mark.slow

SHARDS = 5


@pytest.fixture(scope="module")
def photos():
    return studies.pictures(2 * SHARDS, width=800, height=600)


@pytest.fixture(scope="module")
def clip():
    return str(studies.checkpoint("clip"))


@pytest.fixture
def started(monkeypatch):
    """The processes that were started."""
    found = []
    start = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *args, **more: found.append(start(*args, **more)) or found[-1])
    return found


@pytest.fixture
def given(photos, tmp_path):
    """What an engine gets: two devices and an encoder that is loaded at once."""
    config = make_config({"images": [str(photos)], "device": "cpu,cpu", "shard_size": 2, "workers": 1})
    with prepared(config, tmp_path / "study", encoder=MeanColour()) as study:
        yield study.shards, replace(study.plan, spec=mean_colour.SPEC), study.ready, no_progress


def test_two_processes_give_the_rows_of_one(given, started):
    engines = run_local, devices.run_on_devices
    one, two = ({record.index: rows for rows, record in engine(*given)} for engine in engines)
    assert len(started) == 2
    assert two.keys() == one.keys() == {*range(SHARDS)}
    assert all(two[index].equals(one[index]) for index in range(SHARDS))


@pytest.mark.matrix
def test_an_error_in_a_process_is_its_own_line(given, started):
    shards, plan, *rest = given
    missing = EncoderSpec(config=StudyConfig(model="/no/such/model", device="cpu,cpu"))
    with pytest.raises(EmbedshiftError, match=r"^/no/such/model: no such folder$") as caught:
        list(devices.run_on_devices(shards, replace(plan, spec=missing), *rest))
    assert caught.value.exit_code == 2
    assert [process.poll() is not None for process in started] == [True, True]


def test_a_process_that_is_killed_is_one_line(given, started, monkeypatch):
    hand_out = devices._hand_out

    def kill_first(*arguments):
        started[1].kill()
        return hand_out(*arguments)

    monkeypatch.setattr(devices, "_hand_out", kill_first)
    with pytest.raises(EmbedshiftError, match=r"^the process of device cpu stopped unexpectedly \(exit code -9\)"):
        list(devices.run_on_devices(*given))
    assert [process.poll() is not None for process in started] == [True, True]


ENDLESS = """
import sys
from pathlib import Path
from dataclasses import replace
from support import mean_colour
from embedshift.config import make_config
from embedshift.engines import local as devices
from embedshift.pipeline.prepare import prepared
config = make_config({"images": [sys.argv[1]], "device": "cpu,cpu", "shard_size": 2, "workers": 1})
with prepared(config, Path(sys.argv[2]), encoder=mean_colour.MeanColour()) as study:
    plan = replace(study.plan, spec=mean_colour.SPEC)
    for _, record in devices.run_on_devices(study.shards * 1000, plan, study.ready, lambda count: None):
        print(record.index, flush=True)
"""


@pytest.mark.matrix
def test_ctrl_c_leaves_no_process_behind(tmp_path):
    photos = models.pictures(tmp_path / "photos", 2 * SHARDS)  # small: hundreds are drawn before the first row
    process = command.start_python(ENDLESS, photos, tmp_path / "study")
    assert process.stdout.readline().strip().isdigit()
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the children and their loaders get it too
    told = command.finish(process, timeout=30).err
    assert told.count("Traceback") == told.count("KeyboardInterrupt") == 1, told
    assert group_is_gone(process.pid)


@pytest.mark.matrix
def test_what_cannot_travel_is_measured_on_one_device(photos, clip, tmp_path, started, caplog):
    own = {"mirror": lambda image, rng: image[:, ::-1]}
    with caplog.at_level(logging.WARNING):
        embedshift.run(photos, out=tmp_path / "two", model=clip, device="cpu,cpu", shard_size=2, augmentations=own)
    assert started == []
    assert "using only one device: the augmentations cannot be sent to other processes" in caplog.text


@pytest.mark.matrix
def test_one_shard_or_an_encoder_in_hand_needs_no_process(photos, clip, tmp_path, started):
    embedshift.run(photos, out=tmp_path / "a", model=clip, device="cpu,cpu", workers=0)
    embedshift.run(photos, out=tmp_path / "b", model=models.Colours(), shard_size=2, workers=0)
    assert started == []


def test_auto_and_cuda_are_all_gpus(monkeypatch):
    assert devices.device_names("auto") == ["auto"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert devices.device_names("auto") == devices.device_names("cuda") == ["cuda:0", "cuda:1", "cuda:2"]
    assert devices.device_names("cuda:0, cuda:2") == ["cuda:0", "cuda:2"]
    assert devices.device_names("cpu") == ["cpu"]


def test_devices_of_several_kinds_are_refused():
    with pytest.raises(EmbedshiftError, match=r"^device 'cpu,cuda:0': give devices of one kind$") as caught:
        devices.device_names("cpu,cuda:0")
    assert caught.value.exit_code == 2
