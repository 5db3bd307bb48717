"""The workflows name what there is: targets of the Makefile, tools of the extra `dev`, Pythons of pyproject.toml."""

import re
import shlex
import subprocess
import sys
from typing import Any

import pytest
import yaml

from support.project import ROOT, make_targets, pyproject

FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
WORKFLOWS = {path.name: yaml.safe_load(path.read_text()) for path in FILES}
JOBS = [(name, job, each) for name, flow in WORKFLOWS.items() for job, each in flow["jobs"].items()]
PINNED = re.compile(r"[\w./-]+@(v\d+|release/v\d+|[0-9a-f]{40})")


def commands(job: dict[str, Any]) -> list[str]:
    return [line.strip() for step in job["steps"] for line in step.get("run", "").splitlines() if line.strip()]


def made(lines: list[str]) -> list[str]:
    """The targets that lines ask `make` for."""
    found = [re.match(r"make ((?:[a-z-]+ ?)+)", line) for line in lines]
    return [target for match in found if match for target in match[1].split()]


def test_both_are_there_and_say_that_they_have_not_run():
    assert list(WORKFLOWS) == ["ci.yml", "release.yml"]
    for path in FILES:
        assert path.read_text().startswith("# Written, not yet run: "), path.name
    assert "not been tried on macOS" in FILES[0].read_text().splitlines()[0]


@pytest.mark.parametrize(("file", "name", "job"), JOBS, ids=[f"{file} {name}" for file, name, _ in JOBS])
def test_what_a_job_asks_for_exists(file, name, job):
    lines = commands(job)
    assert set(made(lines)) <= make_targets()
    tools = {tool for line in lines for tool in re.findall(r"\.venv/bin/([\w-]+)", line)}
    listed = pyproject()["project"]["optional-dependencies"]["dev"]
    assert tools <= {re.split(r"[^\w-]", each)[0] for each in listed}
    assert all(PINNED.fullmatch(step["uses"]) for step in job["steps"] if "uses" in step)
    assert 0 < job["timeout-minutes"] <= 90


def pythons(job: dict[str, Any]) -> list[str]:
    matrix = job.get("strategy", {}).get("matrix", {}).get("python", [])
    fixed = [step["with"]["python-version"] for step in job["steps"] if "python-version" in step.get("with", {})]
    return [each for each in [*matrix, *fixed] if "matrix." not in each]


def minor(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def test_every_python_that_is_promised_is_tested():
    project = pyproject()["project"]
    named = re.findall(r"Python :: (3\.\d+)$", "\n".join(project["classifiers"]), re.MULTILINE)
    least = project["requires-python"].removeprefix(">=")
    ci = WORKFLOWS["ci.yml"]["jobs"]
    assert pythons(ci["tests"]) == named
    assert min(named, key=minor) == least
    assert pythons(ci["lowest-dependencies"]) == [least]
    used = {python for _, _, job in JOBS for python in pythons(job)}
    assert used <= set(named)


def test_ci_does_what_the_project_promises():
    ci = WORKFLOWS["ci.yml"]["jobs"]
    asked = {target for job in ci.values() for target in made(commands(job))}
    assert asked >= {"lint", "types", "audit", "test-all", "isa", "lowest", "newest", "quick", "smoke", "docs"}
    assert [name for name, job in ci.items() if job["runs-on"].startswith("macos")] == ["macos"]


def test_no_job_may_do_more_than_it_needs():
    rights = {(file, name): job.get("permissions", WORKFLOWS[file]["permissions"]) for file, name, job in JOBS}
    assert rights.pop(("release.yml", "publish")) == {"id-token": "write"}
    assert all(given == {"contents": "read"} for given in rights.values())
    for path in FILES:
        assert "secrets." not in path.read_text()
        assert "concurrency" in WORKFLOWS[path.name]
        assert "pull_request_target" not in path.read_text()


def test_a_release_publishes_what_was_tried():
    jobs = WORKFLOWS["release.yml"]["jobs"]
    build, publish = jobs["build"], jobs["publish"]
    assert "make smoke" in commands(build)
    kept, taken = build["steps"][-1]["with"], publish["steps"][0]["with"]
    assert (kept["name"], kept["path"]) == (taken["name"], "build/dist/")
    assert publish["needs"] == "build"
    assert publish["environment"]["name"]
    assert publish["steps"][1]["uses"].startswith("pypa/gh-action-pypi-publish@")


@pytest.mark.parametrize("is_right", [True, False])
def test_a_tag_that_is_not_the_version_ends_a_release(is_right):
    (line,) = [line for line in commands(WORKFLOWS["release.yml"]["jobs"]["build"]) if line.startswith("test ")]
    tag = f"v{pyproject()['project']['version']}" + ("" if is_right else "1")
    here = line.replace("python3", shlex.quote(sys.executable))  # another may lie on the path
    done = subprocess.run(["bash", "-ec", here], cwd=ROOT, env={"GITHUB_REF_NAME": tag}, check=False)
    assert (done.returncode == 0) is is_right


def test_pre_commit_has_the_tools_of_the_extra():
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    dev = pyproject()["project"]["optional-dependencies"]["dev"]
    for hook in local["hooks"]:
        assert hook["language"] == "python", "works in a clone without .venv"
        for each in hook["additional_dependencies"]:
            assert each in dev or each.startswith("pre-commit-hooks")


def test_every_make_in_the_pages_is_a_target():
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob(".github/*.md")]
    named = {page.name: made(re.findall(r"`(make [a-z -]+)", page.read_text())) for page in pages}
    assert sum(map(len, named.values())) > 5
    assert {name: wrong for name, listed in named.items() if (wrong := set(listed) - make_targets())} == {}
