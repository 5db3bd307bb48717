"""What to do next: at most three reasons, each with a command that has the study's own names."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from embedshift.report.command import shown_command
from embedshift.report.numbers import count
from embedshift.store.reader import Reader

# Stands for the study's folder in a command.
STUDY = "{study}"
# How many steps are shown.
SHOWN = 3
NOTHING = "Nothing: no image failed, and no result asks for a next step."


@dataclass(frozen=True)
class Action:
    """A command, as its words with `STUDY` for the study's folder, and its place among all."""

    order: int
    words: tuple[str, ...]


FIRST, RETRY = 0, "--retry-failed"
NEAR_COPIES = Action(1, ("search", STUDY, "--groups", "near"))
MAP = Action(2, ("whiten", STUDY, "--out", "map.npz"))
MORE_IMAGES = Action(3, ("power", STUDY))
TILES = Action(4, ("search", STUDY, "--layout", "tiles"))
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
