"""What one revision answers: each command runs in a fork of this process, in a folder with copies of its inputs.

usage: python answers.py NET COMMANDS.json OUT.json

The forks share what is imported, so that a command costs its analysis alone. An answer is the exit code, stdout,
stderr and every file that the command wrote or changed, as text in which equal content is equal.
"""

import contextlib
import hashlib
import importlib
import json
import os
import pkgutil
import re
import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

PROCESSES, SECONDS = 2, 240
# What a clock, a process number or the folder of the call gives.
UNSTABLE = (
    (re.compile(r"\b\d+(?:\.\d+)?(?:e-\d+)? ?(?:s|ms|min|minutes?|seconds?)\b"), "TIME"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:\+00:00|Z)?"), "TIME"),
    (re.compile(r"\d+ of \d+ images, .*"), "PROGRESS"),
    (re.compile(r"/tmp/tmp\w+"), "TEMPORARY"),
)
# Of study.json: what clocks and other packages give.
NO_CONTENT = {"seconds", "checksum", "versions", "written", "study_id"}
IN_DRAWINGS = re.compile(r'(?<=id=")[^"]*|(?<=#)[\w-]+(?=["\)])|<dc:date>.*?</dc:date>', re.DOTALL)


def main() -> None:
    net, commands, out = (Path(word) for word in sys.argv[1:])
    waiting: list[tuple[int, str]] = list(enumerate(json.loads(commands.read_text())))[::-1]
    import_all()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        running: dict[int, tuple[str, Path]] = {}
        while waiting or running:
            while waiting and len(running) < PROCESSES:
                number, command = waiting.pop()
                folder = Path(scratch) / str(number)
                running[started(command, net, folder)] = (command, folder)
            process, status = os.wait()
            command, folder = running.pop(process)
            found[command] = answer(os.waitstatus_to_exitcode(status), folder, net)
            shutil.rmtree(folder)
    out.write_text(json.dumps(found))


def import_all() -> None:
    """Imports the package and what its commands import late; the page in the browser apart."""
    import embedshift

    for module in pkgutil.walk_packages(embedshift.__path__, "embedshift."):
        if ".app" not in module.name and not module.name.endswith("__main__"):
            with contextlib.suppress(ImportError):
                importlib.import_module(module.name)
    for name in (
        "matplotlib.pyplot",
        "scipy.stats",
        "scipy.spatial",
        "scipy.cluster",
        "polars",
        "faiss",
        "cv2",
        "onnx",
    ):
        importlib.import_module(name)


def started(command: str, net: Path, folder: Path) -> int:
    """A process that runs the command in its folder; its streams are files beside it."""
    here = folder / "here"
    here.mkdir(parents=True)
    words = shlex.split(command)
    for name in sorted({part.split("/")[0] for word in words for part in re.split("[=,#:]", word)}):
        source = net / name
        if name and name not in (".", "..") and source.exists():
            copy = shutil.copytree if source.is_dir() else shutil.copy2
            copy(source, here / name)
    for name in ("state", "cache"):
        shutil.copytree(net / name, folder / name)
    (folder / "before.json").write_text(json.dumps(listing(here)))
    if process := os.fork():
        return process
    signal.alarm(SECONDS)
    for number, stream in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(folder / stream, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.environ.update(XDG_STATE_HOME=str(folder / "state"), EMBEDSHIFT_CACHE=str(folder / "cache"))
    os.chdir(here)
    os._exit(run(words))


def run(words: list[str]) -> int:
    """The exit code of `embedshift WORDS`, or of a function of `calls.py`: `python: NAME WORDS`."""
    try:
        if words[0] == "python:":
            getattr(importlib.import_module("calls"), words[1])(*words[2:])
        else:
            sys.argv = ["embedshift", *words]
            importlib.import_module("embedshift.cli").main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        code = 99
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def listing(folder: Path) -> dict[str, str]:
    """Path → hash of each file."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def answer(code: int, folder: Path, net: Path) -> dict[str, str]:
    """Part → text: the code, both streams and each file that is new, changed or gone."""
    here = folder / "here"
    before, after = json.loads((folder / "before.json").read_text()), listing(here)
    parts = {"exit code": str(code)}
    for name in ("stdout", "stderr"):
        parts[name] = (folder / name).read_text(errors="backslashreplace")
    for name in sorted({*before, *after}):
        if before.get(name) != after.get(name) and "/." not in f"/{name}":
            parts[name] = "gone" if name not in after else content(here / name)
    checkout = os.environ["PYTHONPATH"].split("/src:")[0]
    places = {str(here): "HERE", str(folder): "HERE", str(net): "NET", checkout: "CODE"}
    return {name: stable(text, places) for name, text in parts.items()}


def stable(text: str, places: dict[str, str]) -> str:
    for place, word in places.items():
        text = text.replace(place, word)
    for pattern, word in UNSTABLE:
        text = pattern.sub(word, text)
    return "\n".join(line.split("\r")[-1].rstrip() for line in text.splitlines())


def content(path: Path) -> str:
    """A file as text: what a reader gets from it, and for tables also the hash of its bytes."""
    kind = path.suffix
    if kind == ".parquet":
        return "\n".join(of_table(path))
    if kind == ".json":
        return json.dumps(without_clocks(json.loads(path.read_text())), indent=1)
    if kind == ".html":
        return "\n".join(of_page(path.read_text()))
    if kind == ".svg":
        return IN_DRAWINGS.sub("", path.read_text())
    if kind in (".npz", ".npy"):
        return "\n".join(of_arrays(path))
    if kind in (".csv", ".md", ".xml", ".yaml", ".txt", ".jsonl", ".mmd"):
        return path.read_text()
    return hashlib.sha256(path.read_bytes()).hexdigest()


def without_clocks(value: Any) -> Any:
    if isinstance(value, dict):
        # The checksum of a shard follows from the time in its record; what it holds is compared by itself.
        return {
            name: None if name.startswith("shards/") else without_clocks(each)
            for name, each in value.items()
            if name not in NO_CONTENT
        }
    return [without_clocks(each) for each in value] if isinstance(value, list) else value


def of_table(path: Path) -> Iterator[str]:
    """Schema, metadata and rows."""
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    yield str(table.schema.remove_metadata())
    for name, value in sorted((table.schema.metadata or {}).items()):
        if name != b"ARROW:schema":
            try:
                text = json.dumps(without_clocks(json.loads(value)))
            except ValueError:
                text = value.decode(errors="backslashreplace")
            yield f"{name.decode()}: {text}"
    yield from (repr(row) for row in table.to_pylist())


def of_arrays(path: Path) -> Iterator[str]:
    import numpy as np

    with open(path, "rb") as file:
        loaded = np.load(file, allow_pickle=False)
        arrays = dict(loaded.items()) if path.suffix == ".npz" else {"array": loaded}
    for name, array in arrays.items():
        yield f"{name}: {array.dtype} {array.shape} {hashlib.sha256(array.tobytes()).hexdigest()}"
        yield f"{name}: {np.array2string(array.ravel()[:50], precision=17)}"


class Page(HTMLParser):
    """The words of a page in order, and the names of its sections, folds and links."""

    KEPT = ("id", "href", "title", "alt", "class")

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.inside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.inside.append(tag)
        said = [f"{name}={value}" for name, value in attrs if name in self.KEPT and value and len(value) < 200]
        if tag in ("section", "details", "table", "h1", "h2", "h3", "h4", "a", "img", "figure"):
            self.lines.append(f"<{tag} {' '.join(said)}>")

    def handle_endtag(self, tag: str) -> None:
        while self.inside and self.inside.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        words = " ".join(data.split())
        if words and "style" not in self.inside:
            long = len(words) > 4000  # a library or the numbers of a chart
            self.lines.append(hashlib.sha256(words.encode()).hexdigest() if long else words)


def of_page(text: str) -> list[str]:
    page = Page()
    page.feed(text)
    return page.lines


if __name__ == "__main__":
    main()
