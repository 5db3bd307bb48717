"""The audit of dependencies: a vulnerability of one of ours fails, a service that does not answer does not."""

import importlib.util
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
spec = importlib.util.spec_from_file_location("audit", ROOT / ".ci" / "audit.py")
audit = importlib.util.module_from_spec(spec)
spec.loader.exec_module(audit)

FOUND = {"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["12.1"]}


def report(name: str, *vulnerabilities):
    clean = {"name": "numpy", "version": "2.0", "vulns": []}
    return {"dependencies": [clean, {"name": name, "version": "12.0", "vulns": list(vulnerabilities)}]}


def test_what_is_declared():
    ours = audit.declared(ROOT / "pyproject.toml")
    assert {"torch", "pillow", "pyyaml", "huggingface-hub", "opencv-python-headless", "ray", "timm"} <= ours
    assert "pytest" not in ours


@pytest.mark.parametrize(
    ("name", "allowed", "failed", "words"),
    [
        ("Pillow", {}, True, "Pillow 12.0: PYSEC-1, fixed in 12.1 (FAILS)"),
        ("pillow", {"CVE-1": "no BLP is read"}, False, "(allowed: no BLP is read)"),
        ("setuptools", {}, False, "(not a dependency that we name)"),
    ],
)
def test_a_vulnerability(name, allowed, failed, words):
    lines, found = audit.verdict(report(name, FOUND), {"pillow", "numpy"}, allowed)
    assert found is failed
    assert words in lines[1]


def test_none():
    assert audit.verdict(report("pillow"), {"pillow"}, {}) == (["audit: 2 of 2 packages were checked"], False)


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
