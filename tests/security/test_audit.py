"""The audit of dependencies: a vulnerability of one of ours fails, a service that does not answer does not."""

import importlib.util
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
spec = importlib.util.spec_from_file_location("audit", ROOT / ".ci" / "audit.py")
audit = importlib.util.module_from_spec(spec)
spec.loader.exec_module(audit)


def test_a_vulnerability_fails_only_if_it_is_of_ours_and_not_allowed():
    ours = audit.declared(ROOT / "pyproject.toml")
    assert {"torch", "pillow", "opencv-python-headless", "ray"} <= ours
    assert "pytest" not in ours
    found = {"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["12.1"]}
    for name, allowed, failed, words in (
        ("Pillow", {}, True, "Pillow 12.0: PYSEC-1, fixed in 12.1 (FAILS)"),
        ("pillow", {"CVE-1": "no BLP is read"}, False, "(allowed: no BLP is read)"),
        ("setuptools", {}, False, "(not a dependency that we name)"),
    ):
        report = {"dependencies": [{"name": name, "version": "12.0", "vulns": [found]}]}
        lines, fails = audit.verdict(report, ours, allowed)
        assert (fails, words in lines[1]) == (failed, True)


@pytest.mark.parametrize(
    ("out", "err", "code", "words"),
    [
        ("", "ConnectionError: Name or service not known", 0, "does not answer; nothing was checked (ConnectionError"),
        ('{"dependencies": [{"name": "pillow", "skip_reason": "not found"}]}', "", 0, "nothing was checked"),
        ('{"dependencies": [{"name": "pillow", "version": "1", "vulns": [{"id": "A"}]}]}', "", 1, "(FAILS)"),
    ],
)
def test_its_exit_code(out, err, code, words, monkeypatch, capsys):
    done = subprocess.CompletedProcess([], 1, out, err)
    monkeypatch.setattr(audit.subprocess, "run", lambda *_, **__: done)
    assert audit.main() == code
    said = capsys.readouterr().out
    assert words in said
