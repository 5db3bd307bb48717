"""Constraints that pin every dependency to its lower bound in pyproject.toml, those of the extras included.

`make lowest` installs with them. A name given as an argument stays free, where its lowest release cannot be had.
"""

import re
import sys
import tomllib
from collections.abc import Collection, Iterable
from pathlib import Path

TOOLS = ("dev", "docs")
REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(\[[^\]]*\])?\s*(>=|==)\s*(?P<version>[0-9][0-9.]*)\b")


def lower_bounds(requirements: Iterable[str]) -> dict[str, str]:
    """Names and the lowest version of each.

    Raises:
        ValueError: for a requirement without a lower bound, and for a name that has two.
    """
    found: dict[str, str] = {}
    for each in requirements:
        match = REQUIREMENT.match(each)
        if match is None:
            raise ValueError(f"{each}: has no lower bound; write it as name>=version")
        name, version = match["name"].lower(), match["version"]
        if found.setdefault(name, version) != version:
            raise ValueError(f"{name}: has the lower bounds {found[name]} and {version}; write one of them")
    return found


def of_users(pyproject: Path) -> list[str]:
    """The dependencies and those of the extras for users; the tools of the project are the newest ones.

    An extra that contains another names the project itself, which has no lower bound.
    """
    project = tomllib.loads(pyproject.read_text())["project"]
    extras = project["optional-dependencies"]
    listed = project["dependencies"] + [each for name in extras if name not in TOOLS for each in extras[name]]
    return [each for each in listed if not each.startswith(f"{project['name']}[")]


def main(free: Collection[str]) -> int:
    try:
        bounds = lower_bounds(of_users(Path(__file__).parents[1] / "pyproject.toml"))
    except ValueError as error:
        print(f"lowest: {error}", file=sys.stderr)
        return 1
    if unknown := set(free) - bounds.keys():
        print(f"lowest: {', '.join(sorted(unknown))}: no dependency of that name", file=sys.stderr)
        return 1
    print("\n".join(f"{name}=={version}" for name, version in bounds.items() if name not in free))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
