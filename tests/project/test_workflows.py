"""What GitHub, `make lowest` read: targets, Pythons, rights, the citation, lowest versions."""

import re
import shlex
import subprocess
import sys
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from support.project import ROOT, make_targets, pyproject, script

FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
WORKFLOWS = {path.name: yaml.safe_load(path.read_text()) for path in FILES}
JOBS = [(name, job, each) for name, flow in WORKFLOWS.items() for job, each in flow["jobs"].items()]
PINNED = re.compile(r"[\w./-]+@(v\d+|release/v\d+|[0-9a-f]{40})")
PROJECT: dict[str, Any] = pyproject()["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]


def commands(job: dict[str, Any]) -> list[str]:
    return [line.strip() for step in job["steps"] for line in step.get("run", "").splitlines() if line.strip()]


def made(lines: list[str]) -> set[str]:
    """The targets that lines ask `make` for."""
    found = [re.match(r"make ((?:[a-z-]+ ?)+)", line) for line in lines]
    return {target for match in found if match for target in match[1].split()}


@pytest.mark.parametrize(("file", "name", "job"), JOBS, ids=[f"{file} {name}" for file, name, _ in JOBS])
def test_a_job_asks_for_what_exists_and_may_do_no_more_than_it_needs(file, name, job):
    lines = commands(job)
    assert made(lines) <= make_targets()
    tools = {tool for line in lines for tool in re.findall(r"\.venv/bin/([\w-]+)", line)}
    assert tools <= {re.split(r"[^\w-]", each)[0] for each in EXTRAS["dev"]}
    assert all(PINNED.fullmatch(step["uses"]) for step in job["steps"] if "uses" in step)
    assert 0 < job["timeout-minutes"] <= 90
    publishes = (file, name) == ("release.yml", "publish")
    rights = job.get("permissions", WORKFLOWS[file]["permissions"])
    assert rights == ({"id-token": "write"} if publishes else {"contents": "read"})
    text = (ROOT / ".github" / "workflows" / file).read_text()
    assert "secrets." not in text
    assert "pull_request_target" not in text


def pythons(job: dict[str, Any]) -> list[str]:
    matrix = job.get("strategy", {}).get("matrix", {}).get("python", [])
    fixed = [step["with"]["python-version"] for step in job["steps"] if "python-version" in step.get("with", {})]
    return [each for each in [*matrix, *fixed] if "matrix." not in each]


def test_ci_tests_every_python_that_is_promised_by_every_target():
    named = re.findall(r"Python :: (3\.\d+)$", "\n".join(PROJECT["classifiers"]), re.MULTILINE)
    ci = WORKFLOWS["ci.yml"]["jobs"]
    assert pythons(ci["tests"]) == named
    assert pythons(ci["lowest-dependencies"]) == [PROJECT["requires-python"].removeprefix(">=")] == named[:1]
    asked = set().union(*(made(commands(job)) for job in ci.values()))
    assert asked >= {"lint", "types", "audit", "test-all", "isa", "lowest", "newest", "quick", "smoke", "docs"}


def test_a_release_publishes_what_was_tried_under_a_tag_that_is_the_version():
    build, publish = (WORKFLOWS["release.yml"]["jobs"][name] for name in ("build", "publish"))
    assert "make smoke" in commands(build)
    kept, taken = build["steps"][-1]["with"], publish["steps"][0]["with"]
    assert (kept["name"], kept["path"], publish["needs"]) == (taken["name"], "build/dist/", "build")
    (line,) = [line for line in commands(build) if line.startswith("test ")]
    here = line.replace("python3", shlex.quote(sys.executable))  # another may lie on the path
    for more in ("", "1"):
        tag = {"GITHUB_REF_NAME": f"v{PROJECT['version']}{more}"}
        done = subprocess.run(["bash", "-ec", here], cwd=ROOT, env=tag, check=False)
        assert (done.returncode == 0) is (more == "")


def test_every_make_in_the_pages_is_a_target():
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob(".github/*.md")]
    named = set().union(*(made(re.findall(r"`(make [a-z -]+)", page.read_text())) for page in pages))
    assert len(named) > 5
    assert named - make_targets() == set()


def test_the_citation_is_of_this_version():
    cff = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cff.keys() >= {"message", "authors"}
    assert (cff["cff-version"], cff["type"], cff["title"]) == ("1.2.0", "software", PROJECT["name"])
    assert (str(cff["version"]), cff["license"]) == (PROJECT["version"], PROJECT["license"])
    assert cff["repository-code"] == PROJECT["urls"]["Source"]


def test_lowest_takes_the_lower_bound_of_everything_that_a_user_installs():
    lowest = script("lowest")
    written = lowest.of_users(ROOT / "pyproject.toml")
    bounds = lowest.lower_bounds(written)
    assert {"torch", "ray", "timm"} <= set(bounds)
    assert "ruff" not in bounds
    for each in map(Requirement, written):
        assert {bounds[each.name.lower()]} == {one.version for one in each.specifier if one.operator in (">=", "==")}
    for wrong, words in ((["numpy~=2.0"], "has no lower bound"), (["timm>=1.0.3", "timm>=1.1"], "1.0.3 and 1.1")):
        with pytest.raises(ValueError, match=words):
            lowest.lower_bounds(wrong)
