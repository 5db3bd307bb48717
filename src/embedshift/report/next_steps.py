"""The command that makes a study, without local paths so that another person can repeat it; and what to do next.

Next are at most three reasons, each with a command that has the study's own names.
"""

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from embedshift.config import FEW_IMAGES, FEW_PER_SHARD, PAIRS, VECTORS, StudyConfig
from embedshift.report.numbers import count
from embedshift.store.naming import ImageNaming
from embedshift.store.reader import Reader

# What study.json calls augmentations that were given in Python.
IN_PYTHON = "custom"
_NO_SUITES = (IN_PYTHON, PAIRS, VECTORS)
# Settings that decide no number, and those that the command names otherwise.
_LEFT_OUT = frozenset(
    ("images", "model", "pairs", "device", "engine", "workers", "num_gpus", "concurrency", "image_timeout")
)
# The most images that are named one by one.
MOST_IMAGES = 20


def command_of(reader: Reader, out: str, *, named: bool = True, whole: bool = False) -> list[str]:
    """Returns the words of the command, which runs in the folder above the images.

    Args:
        reader: The study.
        out: Its folder.
        named: Whether images are named as they were given, or by IMAGES.
        whole: Whether paths stay as they were given: for this machine alone.
    """
    info, naming = reader.info, reader.naming
    settings = dict(info.config) if whole else naming.settings(info.config)
    if settings["shard_size"] == FEW_PER_SHARD and info.counts.images <= FEW_IMAGES:
        settings["shard_size"] = "auto"
    images, pairs = info.config["images"], [str(pair) for pair in info.config.get("pairs") or ()]
    if not whole:
        images, pairs = _shortened(images, pairs, naming)
    if not named:
        images = ["ORIGINALS" if pairs else "IMAGES"]
    words = ["run", "--pairs", *images, *pairs] if pairs else ["run", *images]
    if not info.has_pixels:
        words = ["vectors", "VECTORS", *(["--views", "views.json"] if info.source["kind"] == "views" else [])]
        settings["draws"], settings["tiles"] = StudyConfig.draws, None  # those of the vectors
    words += ["--model", str(settings["model"]), *_flags(settings)]
    return ["embedshift", *words, "--out", out]


def shown_command(reader: Reader, out: str, *, whole: bool = False) -> list[str]:
    """Returns the words of the command as `command_of` does; none where it would not run, or images are not named."""
    return command_of(reader, out, whole=whole) if reader.pictures and is_repeatable(reader) else []


def is_repeatable(reader: Reader) -> bool:
    """Returns whether the command makes the study: not of vectors, of augmentations in Python, or of many files."""
    config = reader.info.config
    is_in_python = config.get("augmentations") == IN_PYTHON
    return reader.info.has_pixels and not is_in_python and 0 < len(config["images"]) <= MOST_IMAGES


def _shortened(images: list[str], pairs: list[str], naming: ImageNaming) -> tuple[list[str], list[str]]:
    """Returns the last parts of paths, as few as tell originals and variants apart."""
    named = [re.fullmatch(r"([^/=]+=)?(.*)", pair, re.DOTALL).groups("") for pair in pairs]  # type: ignore[union-attr]
    places = naming.places([*images, *(path for _, path in named)])
    names = [name for name, _ in named]
    return places[: len(images)], [f"{n}{p}" for n, p in zip(names, places[len(images) :], strict=True)]


def _flags(config: Mapping[str, Any]) -> list[str]:
    flags: list[str] = []
    for name, default in StudyConfig().to_dict().items():
        value, default = (
            list(given) if isinstance(given, tuple) else given for given in (config.get(name, default), default)
        )
        if name in _LEFT_OUT or value in (default, None) or (name == "augmentations" and value in _NO_SUITES):
            continue
        flag = f"--{name.replace('_', '-')}"
        words = map(str, value if isinstance(value, list) else [value])
        flags += [flag] if value is True else [flag, ",".join(words)]
    return flags


# Stands for the study's folder in a command.
STUDY = "{study}"
# How many steps are shown.
SHOWN = 3
NOTHING = "All images were measured. Each section below answers a question about them."


@dataclass(frozen=True)
class Action:
    """A command, as its words with `STUDY` for the study's folder, and its place among all."""

    order: int
    words: tuple[str, ...]


FIRST, RETRY = 0, "--retry-failed"
NEAR_COPIES = Action(1, ("search", STUDY, "--groups", "near"))
INDEX = Action(2, ("index", STUDY))
KEEP_INDEX = Action(2, ("index", STUDY, "--out", "index.npz"))
MORE_IMAGES = Action(3, ("power", STUDY))
DUPLICATES = Action(5, ("search", STUDY))


@dataclass(frozen=True)
class Step:
    """Something to do; `STEPS` in a question's `tables.py` is a tuple of functions from a reader to one, or to None.

    Args:
        why: The reason, without a full stop.
        action: The command; without words, where none can be named.
    """

    why: str
    action: Action

    def command(self, study: str) -> str:
        """Returns the command for a shell; "" = there is none.

        Example:
            >>> Step("near-copies count as misses", NEAR_COPIES).command("my study")
            "embedshift search 'my study' --groups near"
        """
        study = f"./{study}" if study.startswith("-") else study
        words = [study if word == STUDY else word for word in self.action.words]
        return shlex.join(["embedshift", *words]) if words else ""


def next_steps(reader: Reader, *, whole: bool = False) -> list[Step]:
    """Returns the first steps of a study; with `whole` its own command has paths as they were given."""
    parts = [question.part("tables") for question in reader.questions]
    functions: list[Callable[[Reader], Step | None]] = [f for part in parts for f in _steps(part)]
    found = [step for step in (_again(reader, whole), *(function(reader) for function in functions)) if step]
    return sorted(found, key=lambda step: step.action.order)[:SHOWN]


def _steps(part: object) -> Sequence[Callable[[Reader], Step | None]]:
    return getattr(part, "STEPS", ())


def _again(reader: Reader, whole: bool) -> Step | None:
    """Returns the command of the study, where it is not finished or images failed."""
    info = reader.info
    if info.complete and not info.counts.failed:
        return None
    words = tuple(shown_command(reader, STUDY, whole=whole)[1:])
    if not info.complete:
        return Step("the run has not finished: the same command goes on", Action(FIRST, words))
    why = f"{count(info.counts.failed, 'image')} could not be measured: failures.parquet says why"
    return Step(why, Action(FIRST, (*words, RETRY) if words else ()))
