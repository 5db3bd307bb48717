"""Known vulnerabilities of what is installed: those of a dependency that pyproject.toml names end with exit code 1.

What asks for them is pip-audit; where its service does not answer, this says so in one line and ends with 0.
"""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

# Vulnerability → why it is none here, or why it has to be borne for now.
ALLOWED: dict[str, str] = {}
COMMAND = ("-m", "pip_audit", "--format", "json", "--progress-spinner", "off", "--skip-editable", "--timeout", "15")


def declared(pyproject: Path) -> set[str]:
    """The names of all dependencies of users: those that every one has, and those of extras."""
    project = tomllib.loads(pyproject.read_text())["project"]
    extras = [each for name, listed in project["optional-dependencies"].items() if name != "dev" for each in listed]
    return {normal(re.split(r"[^A-Za-z0-9._-]", each)[0]) for each in (*project["dependencies"], *extras)}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def verdict(report: Mapping[str, Any], ours: Collection[str], allowed: Mapping[str, str]) -> tuple[list[str], bool]:
    """The lines to print, and whether it fails.

    Args:
        report: As pip-audit writes it.
        ours: Names of dependencies that may have none.
        allowed: As `ALLOWED`.
    """
    answered = [each for each in report["dependencies"] if "skip_reason" not in each]
    if not answered:
        return ["audit: the service of vulnerabilities knows none of the packages; nothing was checked"], False
    lines, failed = [f"audit: {len(answered)} of {len(report['dependencies'])} packages were checked"], False
    for package in answered:
        for found in package["vulns"]:
            names = {found["id"], *found.get("aliases", ())}
            reason = next((allowed[name] for name in sorted(names & allowed.keys())), None)
            bad = reason is None and normal(package["name"]) in ours
            failed |= bad
            words = "FAILS" if bad else f"allowed: {reason}" if reason else "not a dependency that we name"
            fixed = ", ".join(found.get("fix_versions", ())) or "none"
            lines.append(f"{package['name']} {package['version']}: {found['id']}, fixed in {fixed} ({words})")
    return lines, failed


def main() -> int:
    done = subprocess.run([sys.executable, *COMMAND], capture_output=True, text=True, check=False)
    try:
        report = json.loads(done.stdout)
    except ValueError:
        last = (done.stderr.strip().splitlines() or ["no word"])[-1]
        print(f"audit: the service of vulnerabilities does not answer; nothing was checked ({last[:120]})")
        return 0
    lines, failed = verdict(report, declared(Path(__file__).parents[1] / "pyproject.toml"), ALLOWED)
    print("\n".join(lines))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
