"""A reader who types what a page says: in a folder with what its blocks name, with a tiny encoder for any other."""

import contextlib
import io
import itertools
import re
import shlex
import shutil
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml
from PIL import Image

from embedshift import cli, from_vectors
from embedshift.config import BUNDLED
from support.command import Done
from support.models import TinyNet
from support.pages import PYTHON, ROOT, SHELL, Block, commands
from support.synthetic import make_study

# What keeps a command short: a run draws in this process and leaves its report to other tests.
SHORT = {
    "run": ("--workers", "0", "--device", "cpu", "--no-report"),
    "vectors": ("--no-report",),
    "attack": ("--steps", "2", "--limit", "2", "--device", "cpu"),
    "report": ("--figures", "dendrogram", "--format", "png"),
    "parity": ("--no-causes",),
}
# Commands that serve, or take long: their arguments are parsed, and tests of their own run them.
PARSED = ("app", "demo")
# Commands whose first arguments are studies, and those that may end with 3: a rule is broken, or is not decided.
OF_ONE = ("report", "search", "verify", "power", "explain", "index", "threshold")
OF_STUDIES = (*OF_ONE, "compare", "check", "upgrade", "drift", "dissect")
MAY_BREAK = ("check", "parity")
# Files that options name, and what stands in them.
FILES = {
    "names.txt": "cat\ndog\nboat\n",
    "words.yaml": "original: a photo\nblur: a blurry photo\nnoise: a noisy photo\n",
    "styles.yaml": "original: a photo\nweak: a red photo\nstrong: a small photo\n",
}
IMAGES_OF_SEARCH = 450  # the false-match rate 0.0001 takes 448


@dataclass
class Reader:
    """What a reader has: the current folder, which is empty at first, and what lies ready."""

    folder: Path
    photos: Path
    studies: dict[bool, Path]  # one with pictures, and (True) one of many images
    model: Path  # of a tiny encoder with both towers
    call: Callable[..., Done]  # the command line
    large: bool = False  # whether studies need many images, since the page names rates
    namespace: dict[str, Any] = field(default_factory=dict)  # of the page's Python

    def read(self, block: Block, page: str) -> None:
        """Does what a block says; AssertionError, or its own error, where it does not work."""
        many = ("--false-match-rate", "embedshift threshold")  # take more images
        self.large = self.large or any(words in block.text for words in many)
        if block.language in PYTHON:
            self._python(block, page)
        elif block.language in SHELL:
            for line in commands(block.text):
                self._command(line)
        elif block.language == "yaml" and "jobs:" in block.text:
            self._workflow(yaml.safe_load(block.text))
        elif block.language == "yaml":
            (self.folder / "own.yaml").write_text(block.text)

    def _workflow(self, workflow: dict[str, Any]) -> None:
        """Runs the steps of each job as GitHub does, and finds the files that it uploads."""
        for step in itertools.chain.from_iterable(job["steps"] for job in workflow["jobs"].values()):
            for line in commands(step.get("run", "").replace("$GITHUB_STEP_SUMMARY", "summary.md")):
                self._command(line)
            if "upload-artifact" in step.get("uses", ""):
                assert (self.folder / step["with"]["path"]).is_file(), step

    def _python(self, block: Block, page: str) -> None:
        for name in re.findall(r'(?:load|check|against=)\(?"([\w./-]+)"', block.text):
            self._needs_study(name)
        for name in re.findall(r'(?:run\(|parity\("[^"]+", \w+,)\s*"([\w./-]+)"', block.text):
            self._needs_images(name)
            for out in re.findall(r'out="([\w./-]+)"', block.text):
                shutil.rmtree(out, ignore_errors=True)
        text = re.sub(r'(model=|parity\()"[^"]+"', rf'\1"{self.model}"', block.text)
        self.namespace.setdefault("module", TinyNet())
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compile("\n" * block.line + text, page, "exec"), self.namespace)

    def _command(self, line: str) -> None:
        program, name, *arguments = shlex.split(line)
        if (program, name) == ("pip", "install"):
            self._installs(arguments)
            return
        assert program == "embedshift", f"{line}: no command of embedshift; say why the block is not run"
        if name in PARSED:
            cli.commands()[name].make_context(name, arguments)
            return
        models = (BUNDLED,) if name == "parity" else ()
        arguments = [
            str(self.model) if before == "--model" or each in models else each for before, each in _pairs(arguments)
        ]
        if name in ("run", "attack") and "--model" not in arguments:
            arguments += ["--model", str(self.model)]
        self._prepare(name, arguments)
        kept = [each for each in SHORT.get(name, ()) if each not in arguments or not each.startswith("--")]
        done = self.call(name, *arguments, *kept)
        allowed = (0, 3) if name in MAY_BREAK else (0,)
        assert done.code in allowed, f"{line}: exit code {done.code}: {done.err[-300:]}"

    @staticmethod
    def _installs(arguments: list[str]) -> None:
        """Nothing is installed; what would be is this package, with extras that it has."""
        [(name, extras)] = re.findall(r"^(\w+)(?:\[([\w,]+)\])?$", " ".join(arguments))
        known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        assert name == "embedshift", arguments
        assert {*filter(None, extras.split(","))} <= {*known}, arguments

    def _prepare(self, name: str, arguments: list[str]) -> None:
        """Makes what the command reads, and removes what another line of the page left where it writes."""
        if name == "dissect":
            self._needs_chains(arguments[0])
        if name in OF_STUDIES:
            for each in _leading(arguments):
                self._needs_study(each)
        for option, value in _pairs(arguments):
            if option in ("--against", "--gallery"):
                self._needs_study(value)
            elif option in ("--frost-textures", "--images-root"):
                self._needs_images(value)
            elif option in ("--labels", "--words"):
                (self.folder / value).write_text(FILES[value])
            elif option == "--lock":
                self._needs_images(arguments[1])
            elif option == "--between":
                self._needs_parts(arguments[0], value.split(","))
            elif option == "--out" and name == "run":
                shutil.rmtree(value, ignore_errors=True)
            elif option == "--rules" and not Path(value).exists() and "--init" not in arguments:
                assert self.call("check", arguments[0], "--init", "--rules", value).code == 0
        if name in ("run", "attack", "views"):
            given = _leading([each for each in arguments if each != "--pairs"])
            for place, each in enumerate(given):
                self._needs_images(each, changed=place > 0)

    def _needs_images(self, name: str, *, changed: bool = False) -> None:
        place = self.folder / name
        if not place.exists():
            shutil.copytree(self.photos, place)
            for path in place.iterdir() if changed else ():
                with Image.open(path) as image:
                    image.convert("RGB").point(lambda value: value // 2).save(path)

    def _needs_study(self, name: str) -> None:
        if not (self.folder / name).exists() and "." not in name:
            shutil.copytree(self.studies[self.large], self.folder / name)

    def _needs_parts(self, name: str, parts: list[str]) -> None:
        """A study of vectors in two folders, one of them in both."""
        rows = np.random.default_rng(0).normal(size=(60, 16))
        rows[-1] = rows[0]
        ids = [f"{parts[place >= 30]}/{place}" for place in range(60)]
        shutil.rmtree(self.folder / name, ignore_errors=True)
        from_vectors(rows, {"jpeg": rows + 0.1}, out=self.folder / name, ids=ids)

    def _needs_chains(self, name: str) -> None:
        """A study of vectors with measured chains, and vectors of pairs."""
        changes, rng = ("messenger", "crop_90", "scan", "greyscale", "mirror"), np.random.default_rng(0)
        images = rng.normal(size=(60, 8)) + 2
        towards = dict(zip(changes, 2 * np.eye(8), strict=False))
        views = {each: images + towards[each] for each in changes}
        views |= {f"{one}_then_{two}": views[one] + towards[two] for one, two in itertools.permutations(changes, 2)}
        shutil.rmtree(self.folder / name, ignore_errors=True)
        from_vectors(images, views, out=self.folder / name)
        ids = [f"image {place}" for place in range(60)] * 2
        rows = {"image_id": ids, "view": ["original"] * 60 + ["copy"] * 60}
        vectors = np.concatenate([images, views["scan"]]).tolist()
        pl.DataFrame(rows | {"vector": vectors}).write_parquet(self.folder / "pairs.parquet")


def studies_to_read(folder: Path) -> dict[bool, Path]:
    """Two finished studies: one with pictures, and one with enough images for every rate that the pages name."""
    small = make_study(folder / "small", 40, with_pictures=True).folder
    return {False: small, True: make_study(folder / "large", IMAGES_OF_SEARCH).folder}


def _pairs(arguments: list[str]) -> list[tuple[str, str]]:
    """Each argument with the one before it."""
    return list(zip(["", *arguments], arguments, strict=False))


def _leading(arguments: list[str]) -> list[str]:
    """The arguments before the first option."""
    return list(itertools.takewhile(lambda each: not each.startswith("--"), arguments))
