"""What tests read and never change is made once in a test run: whichever process and file asks first makes it."""

import hashlib
import inspect
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock

from embedshift.augmentations import Augmentation
from embedshift.registry import fingerprint, questions
from embedshift.store.info import read_info
from embedshift.store.table import WrittenFiles, record_tables
from embedshift.study import Study

# The folder of all processes of a test run, which `tests/conftest.py` gives.
root = Path()
_asked: set[Path] = set()


def made(maker: Callable[..., object], *given: Any, **settings: Any) -> Path:
    """The folder that `maker(folder, *given, **settings)` fills; it is for reading alone.

    Args:
        maker: A function of a module, whose first argument is a folder that does not exist yet.
        *given: Its other arguments: numbers, texts, paths of what was made once, and what consists of these.
        **settings: The same by their names.
    """
    bound = inspect.signature(maker).bind(None, *given, **settings)
    bound.apply_defaults()
    key = json.dumps([maker.__module__, maker.__qualname__, described(dict(bound.arguments))])
    return filled(maker.__name__, key, lambda folder: maker(folder, *given, **settings))


def filled(name: str, key: str, fill: Callable[[Path], object]) -> Path:
    """The folder of that key, which `fill` fills where nothing has yet."""
    assert root.is_absolute(), "only a test run has what is made once"
    known = [question.name for question in questions()]  # a test may add one
    digest = hashlib.sha256(json.dumps([known, key]).encode()).hexdigest()[:16]
    folder = root / f"{name.strip('_')}-{digest}"
    listing = folder.with_suffix(".json")
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if not listing.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of one that failed
            fill(folder)
            listing.write_text(json.dumps(_files(folder)))
    _asked.add(folder)
    return folder


def write_tables(study: Study) -> None:
    """As `study.write_tables()`, which makes the tables of the same shards once; not for a test that changes how.

    Args:
        study: One without tables.
    """
    if not root.is_absolute():  # the examples of docstrings
        study.write_tables()
        return
    content = {name: value for name, value in study.info().items() if name not in ("checksum", "source")}
    content["config"] = {name: value for name, value in content["config"].items() if name != "images"}
    shards = [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted((study.folder / "shards").iterdir())]

    def fill(folder: Path) -> None:
        study.write_tables()
        shutil.copytree(study.folder / "tables", folder / "tables")
        shutil.copy(study.folder / "study.json", folder)

    kept = filled("tables", json.dumps([content, shards]), fill)
    if (study.folder / "tables").exists():
        return
    shutil.copytree(kept / "tables", study.folder / "tables")
    info = read_info(kept)
    checksums = {name: checksum for name, checksum in info.files.items() if name.startswith("tables/")}
    record_tables(study.folder, WrittenFiles(checksums, dict(info.tables), info.groups, info.rows))


def changed() -> list[Path]:
    """The files that were changed since they were made, of all that this process has asked for since it last called."""
    found: list[Path] = []
    for folder in _asked:
        before, now = json.loads(folder.with_suffix(".json").read_text()), _files(folder)
        found += [folder / name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
    _asked.clear()
    return found


def described(value: Any) -> Any:
    """A value as JSON that only equal ones share, in every process; TypeError where that cannot be."""
    if isinstance(value, str | int | float | bool | None):
        return value
    if isinstance(value, Path):
        return ["path", str(value)]
    if isinstance(value, Mapping):
        return ["mapping", *([name, described(each)] for name, each in value.items())]
    if isinstance(value, Sequence):
        return [described(each) for each in value]
    if isinstance(value, Augmentation):
        return [value.name, value.describe()]
    if inspect.isroutine(value):
        return fingerprint(value)
    return [type(value).__module__, type(value).__qualname__, described(vars(value))]


def _files(folder: Path) -> dict[str, list[int]]:
    """File → its size and when it was written."""
    states = {path: path.stat() for path in sorted(folder.rglob("*")) if path.is_file()}
    return {str(path.relative_to(folder)): [state.st_size, state.st_mtime_ns] for path, state in states.items()}
