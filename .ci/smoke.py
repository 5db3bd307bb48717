"""The wheel by itself: built from the sdist, installed in a new environment, and its demo run far from the repository.

Then what the base promises without torch is run, and some images are measured with the newest OpenCV 4 and with the
newest 5: all relative shifts are to be within .01.
Prints what the install took, and leaves wheel and sdist in build/dist: a release publishes what was tried.
Anything that is missing ends it with one line and exit code 1.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
import zipfile
from pathlib import Path
from typing import Any

from base import try_base

ROOT = Path(__file__).parents[1]
TABLES = {"summary", "ranking", "differences"}
OPENCV = (">=4.10.0.84,<5", ">=5,<6")
CLOSE = 0.01


class Missing(Exception):
    """Something that a user would miss."""


def run(*command: object, where: Path) -> str:
    """What a command prints, run as a new user without the repository on any path; `Missing` where it fails."""
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    own = {"XDG_STATE_HOME": str(where / "state"), "EMBEDSHIFT_CACHE": str(where / "cache")}
    line = [*map(str, command)]
    done = subprocess.run(line, cwd=where, env=outside | own, capture_output=True, text=True, check=False)
    if done.returncode:
        last = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
        raise Missing(f"{' '.join(line)}: exit code {done.returncode}\n{last}")
    return done.stdout


def built(folder: Path) -> Path:
    """The wheel, built from the sdist so that both are whole; they are all that is in the folder."""
    shutil.rmtree(folder, ignore_errors=True)
    run(sys.executable, "-m", "build", "--outdir", folder, ROOT, where=ROOT)
    (wheel,) = folder.glob("*.whl")
    return wheel


def in_source() -> set[str]:
    """Every file of the package as git knows it: modules, templates, style and data; and the pages."""
    command = ["git", "ls-files", "src/embedshift", "docs/*.md"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return {name.removeprefix("src/") for name in listed.stdout.splitlines() if name.startswith("src/")} | {
        f"embedshift/{name}" for name in listed.stdout.splitlines() if name.startswith("docs/")
    }


def lacking(wheel: Path, wanted: set[str]) -> list[str]:
    """Files that are not in the wheel."""
    with zipfile.ZipFile(wheel) as file:
        return sorted(wanted - set(file.namelist()))


def megabytes(folder: Path) -> float:
    """What the files below a folder take, links not counted."""
    sizes = (path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return sum(sizes) / 2**20


def check_study(out: Path) -> str:
    """What the demo has left; `Missing` where a part of it is not there or is empty."""
    tables = {path.stem for path in out.glob("tables/*.parquet") if path.stat().st_size}
    figures = [path for path in out.glob("figures/*") if path.stat().st_size]
    report = out / "report.html"
    if not report.is_file() or "</html>" not in report.read_text():
        raise Missing(f"{report}: no whole report")
    if absent := TABLES - tables:
        raise Missing(f"{out}: lacks the tables {', '.join(sorted(absent))}")
    if not figures:
        raise Missing(f"{out}: no figures")
    return f"{len(tables)} tables, {len(figures)} files of figures, a report of {report.stat().st_size // 1024} KiB"


def measured_with(opencv: str, home: Path, place: Path) -> list[dict[str, Any]]:
    """The summary of four images of the demo with one OpenCV."""
    run(home / "bin/python", "-m", "pip", "install", "-q", f"opencv-python-headless{opencv}", where=place)
    found = run(home / "bin/python", "-c", "import cv2; print(cv2.__version__)", where=place).strip()
    settings = ("--model", "dinov2-small-offline", "--limit", "4", "--no-report", "--quiet", "--json")
    line = run(home / "bin/embedshift", "run", "demo/photos", "--out", f"opencv-{found}", *settings, where=place)
    print(f"smoke: with OpenCV {found} four images were measured")
    summary: list[dict[str, Any]] = json.loads(line)["summary"]
    return summary


def try_out(place: Path) -> None:
    """Builds, installs and runs in a folder, a line for each; raises `Missing`."""
    wheel, home = built(ROOT / "build" / "dist"), place / "venv"
    if absent := lacking(wheel, in_source()):
        raise Missing(f"{wheel.name}: lacks {', '.join(absent)}")
    print(f"smoke: {wheel.name}, {wheel.stat().st_size // 1024} KiB, has every file of src")
    venv.create(home, with_pip=True)
    before, start = megabytes(home), time.perf_counter()
    pip = (home / "bin/python", "-m", "pip", "install", "-q")  # what is used is compiled when it is imported
    run(*pip, "--no-compile", f"embedshift[offline] @ {wheel.as_uri()}", where=place)
    seconds, size = time.perf_counter() - start, megabytes(home) - before
    print(f"smoke: pip install 'embedshift[offline]' took {seconds:.0f} s and {size:.0f} MiB")
    version = run(home / "bin/embedshift", "--version", where=place).strip()
    if version != wheel.name.split("-")[1]:
        raise Missing(f"embedshift --version prints {version!r}; the wheel is {wheel.name}")
    start = time.perf_counter()
    run(home / "bin/embedshift", "demo", "--out", "demo", where=place)
    print(f"smoke: the demo took {time.perf_counter() - start:.0f} s: {check_study(place / 'demo')}")
    run(home / "bin/embedshift", "docs", "check", where=place)
    if wrong := try_base(wheel, place, run, megabytes):
        raise Missing("; ".join(wrong))
    four, five = (measured_with(opencv, home, place) for opencv in OPENCV)
    for row, other in zip(four, five, strict=True):
        # Both draw some views to within a level of 255.
        first, second = row["relative_shift"] or 0.0, other["relative_shift"] or 0.0
        if abs(first - second) > CLOSE * max(1.0, first):
            raise Missing(f"OpenCV 4 and 5 give other relative shifts: {row}; {other}")


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="embedshift-smoke-") as name:
        try:
            try_out(Path(name))
        except Missing as error:
            print(f"smoke: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
