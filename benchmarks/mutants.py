"""Mutation testing: how many small changes of the code of a room its tests notice, by mutmut.

usage: python benchmarks/mutants.py [statistics | store | pipeline | questions/NAME]
                                    [--fraction 0.3 | --only MUTANT ...] [--seed 0] [--keep DIR]

A room's tests are those of tests/ROOM that are not slow, and the examples in its docstrings; those of a question are
the files tests/questions/test_NAME*.py without further cases. They run on a copy of the code, so that nothing here is
changed. A fraction is drawn by the last digit of a mutant's number in its function. With --keep, `mutmut show MUTANT`
prints one of them in DIR.
"""

import argparse
import ast
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from mutmut.stats import status_by_exit_code

from machine import describe_machine

ROOT = Path(__file__).parents[1]
CODE = ROOT / "src" / "embedshift"
CARRIED = ("src", "tests", "pyproject.toml", "README.md")
# Without a server of its own to fork from, a mutant's process would inherit threads of Polars.
SETTINGS = """
[tool.mutmut]
source_paths = ["src"]
only_mutate = ["src/embedshift/{room}/*"]
pytest_add_cli_args = ["-p", "no:cacheprovider", "-m", "{marks}"]
pytest_add_cli_args_test_selection = {tests}
process_isolation = "forkserver"
use_git_change_detection = false
track_dependencies = false
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    rooms = ["statistics", "store", "pipeline"]
    rooms += sorted(f"questions/{path.parent.name}" for path in CODE.glob("questions/*/__init__.py"))
    parser.add_argument("room", nargs="?", choices=rooms, default="statistics")
    parser.add_argument("--fraction", type=float, default=1.0, help="of the mutants, in tenths")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", metavar="NAME", nargs="+", help="of mutants, as survivors of an earlier call")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--keep", metavar="DIR", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = options.keep or Path(folder)
        prepare(work, options.room)
        digits = "".join(sorted(random.Random(options.seed).sample("0123456789", max(1, round(10 * options.fraction)))))
        run(work, options.processes, options.only or [f"{module(options.room)}.*__mutmut_*[{digits}]"])
        show(work, options.room, "those named" if options.only else f"those whose number ends with one of {digits}")


def prepare(work: Path, room: str) -> None:
    """A copy of the code and its tests, with the examples of the room as files, since mutants copy docstrings."""
    for name in ("src", "tests"):
        # Where mutmut writes; Python never looks again into a folder that was not there when it started.
        (work / "mutants" / name).mkdir(parents=True)
    for name in CARRIED:
        source = ROOT / name
        skipped = shutil.ignore_patterns("__pycache__")
        if source.is_dir():
            shutil.copytree(source, work / name, ignore=skipped, dirs_exist_ok=True)
        else:
            shutil.copy(source, work / name)
    with open(work / "pyproject.toml", "a") as file:
        file.write(SETTINGS.format(room=room, **tests_of(room)))
    examples = work / "tests" / "docstrings"
    examples.mkdir()
    for path in sorted((CODE / room).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
                continue
            text = ast.get_docstring(node)
            if text and ">>>" in text:
                name = f"test_{path.stem}_{getattr(node, 'name', 'module')}.txt"
                (examples / name).write_text(f">>> from {module(room)}.{path.stem} import *\n\n{text}\n")


def tests_of(room: str) -> dict[str, object]:
    """The tests of a room and their marks; of a question all but a few are slow, since they make studies."""
    folder, _, question = room.partition("/")
    files = sorted(ROOT.glob(f"tests/{folder}/test_{question}*.py")) if question else [ROOT / "tests" / folder]
    names = [*(str(path.relative_to(ROOT)) for path in files), "tests/docstrings"]
    return {"tests": json.dumps(names), "marks": "not matrix" if question else "not slow"}


def module(room: str) -> str:
    return f"embedshift.{room.replace('/', '.')}"


def run(work: Path, processes: int, names: Sequence[str]) -> None:
    inside = work.resolve() / "mutants"
    paths = os.pathsep.join([str(inside / "src"), str(inside / "tests")])
    environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "mutmut", "run", "--max-children", str(processes), *names]
    done = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True, check=False)
    (work / "mutmut.log").write_text(done.stdout + done.stderr)
    if done.returncode:
        sys.exit(f"mutmut failed: {done.stdout[-2000:]}{done.stderr[-2000:]}")


def show(work: Path, room: str, which: str) -> None:
    """The table by file, and the names of the survivors."""
    survivors: list[str] = []
    rows: dict[str, Counter[str]] = {}
    for path in sorted((work / "mutants" / "src" / "embedshift" / room).glob("*.py.meta")):
        found = json.loads(path.read_text())["exit_code_by_key"]
        ended = {name: status_by_exit_code[code] for name, code in found.items() if code is not None}
        rows[path.name.removesuffix(".meta")] = Counter(ended.values())
        # What no test runs survives too.
        survivors += [name for name, status in ended.items() if status in ("survived", "no tests")]
    print(describe_machine())
    print(f"{room}: {which}")
    print(f"{'file':20} {'mutants':>8} {'killed':>8} {'survived':>9} {'fraction':>7}")
    rows["all"] = sum(rows.values(), Counter())
    for name, counts in rows.items():
        if mutants := counts.total():
            alive = counts["survived"] + counts["no tests"]
            print(f"{name:20} {mutants:8} {mutants - alive:8} {alive:9} {alive / mutants:7.1%}")
    print("by how they ended:", dict(rows["all"]))
    print("\n".join(survivors))


if __name__ == "__main__":
    main()
