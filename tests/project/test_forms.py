"""Forms, citation and addresses are what GitHub and the Citation File Format read."""

import re

import pytest
import yaml

from support.project import ROOT, pyproject

FORMS = sorted(path for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if path.stem != "config")
KINDS = {"markdown", "textarea", "input", "dropdown", "checkboxes"}


@pytest.mark.parametrize("path", FORMS, ids=[path.stem for path in FORMS])
def test_a_form_has_what_github_asks_for(path):
    form = yaml.safe_load(path.read_text())
    assert {"name", "description", "body"} <= form.keys() <= {"name", "description", "body", "labels", "title"}
    ids = [each["id"] for each in form["body"]]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[\w-]+", each) for each in ids)
    for each in form["body"]:
        assert each["type"] in KINDS
        assert each["attributes"]["label"]
        assert each.keys() <= {"type", "id", "attributes", "validations"}
        assert (each["type"] == "dropdown") == ("options" in each["attributes"])
    assert any(each.get("validations", {}).get("required") for each in form["body"])


def test_there_is_a_form_for_each_kind_of_issue():
    assert [path.stem for path in FORMS] == ["bug", "encoder", "feature"]
    assert len({yaml.safe_load(path.read_text())["name"] for path in FORMS}) == len(FORMS)


def test_addresses_are_those_of_the_project():
    urls = pyproject()["project"]["urls"]
    assert set(urls) >= {"Homepage", "Documentation", "Source", "Issues", "Changelog"}
    links = yaml.safe_load((ROOT / ".github/ISSUE_TEMPLATE/config.yml").read_text())["contact_links"]
    assert all(each.keys() == {"name", "url", "about"} for each in links)
    assert all(each["url"].startswith(urls["Source"]) for each in links)


def people(entries):
    """Each is a person, or an entity by its name."""
    assert entries
    return all({"family-names", "given-names"} <= each.keys() or "name" in each for each in entries)


def test_the_citation_is_valid_and_of_this_version():
    cff, project = yaml.safe_load((ROOT / "CITATION.cff").read_text()), pyproject()["project"]
    assert cff.keys() >= {"cff-version", "message", "title", "authors"}
    assert cff["cff-version"] == "1.2.0"
    assert cff["type"] == "software"
    assert people(cff["authors"])
    assert (cff["title"], cff["license"]) == (project["name"], project["license"])
    assert str(cff["version"]) == project["version"]
    assert cff["repository-code"] == project["urls"]["Source"]
    (paper,) = cff["references"]
    assert paper.keys() >= {"type", "title", "authors"}
    assert people(paper["authors"])
    assert [each["value"] for each in paper["identifiers"]] == ["arXiv:2503.23495"]


def test_security_and_conduct_name_one_private_way():
    for name in ("SECURITY.md", "CODE_OF_CONDUCT.md"):
        assert "Report a vulnerability" in (ROOT / name).read_text(), name
