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


def test_what_it_refuses_in_one_line(cli, tmp_path, monkeypatch):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        for arguments, words in (
            ((tmp_path,), f"{tmp_path}: no study here"),
            (("--model", "dinov2-smal-offline"), "did you mean 'dinov2-small-offline'"),
            ((studies.plain().folder, "--port", port), f"error: --port: {port} is already in use: give another"),
        ):
            done = cli("app", *arguments, "--no-browser")
            assert (done.code, words in done.line) == (2, True), done.err
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "gradio" else find(name, *more)
    )
    done = cli("app", "--no-browser")
    words = "error: the page needs the extra 'app': pip install 'embedshift[app]'"
    assert (done.code, done.line) == (1, words)


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
