"""`embedshift app` as a command: what it refuses in one line, and how it ends."""

import importlib.util
import signal
import socket
import urllib.request

import pytest

from support import command, studies
from support.matrix import first_only

pytestmark = pytest.mark.slow

OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def test_a_folder_without_a_study(cli, tmp_path):
    done = cli("app", tmp_path, "--no-browser")
    assert done.code == 2
    assert f"{tmp_path}: no study here" in done.line


def test_without_its_extra(cli, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "gradio" else find(name, *more)
    )
    done = cli("app", "--no-browser")
    assert done.code == 1
    assert done.line == "error: the page needs the extra 'app': pip install 'embedshift[app]'"


@pytest.mark.matrix
def test_a_port_that_is_taken(cli):
    study = studies.plain()
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = cli("app", study.folder, "--no-browser", "--port", port)
    assert done.code == 2
    assert done.line == f"error: --port: {port} is already in use: give another"


def test_an_encoder_that_is_not_known(cli):
    done = cli("app", "--no-browser", "--model", "dinov2-smal-offline")
    assert done.code == 2
    assert "did you mean 'dinov2-small-offline'" in done.line


@pytest.mark.parametrize("number", first_only([signal.SIGINT, signal.SIGTERM]))
def test_it_prints_its_address_and_a_signal_ends_it(number, tmp_path):
    study, scratch = studies.plain(), tmp_path / "scratch"
    scratch.mkdir()
    process = command.start("app", study.folder, "--no-browser", TMPDIR=str(scratch))
    address = process.stdout.readline().strip()
    assert address.startswith("http://127.0.0.1:")
    with OPENER.open(address, timeout=60) as page:
        assert page.status == 200
    assert any(path.name.startswith("embedshift-app-") for path in scratch.iterdir())
    process.send_signal(number)
    done = command.finish(process, timeout=30)
    assert (done.code, done.out) == (128 + number, "")
    assert "Traceback" not in done.err
    assert done.err.splitlines()[-1].startswith("error: stopped")
    assert not any(path.name.startswith("embedshift-app-") for path in scratch.iterdir())
