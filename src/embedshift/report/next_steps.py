"""What to do next: at most three reasons, each with a command that has the study's own names."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from embedshift.report.command import command_of
from embedshift.report.numbers import count
from embedshift.store.reader import Reader

# Stands for the study's folder in a command.
STUDY = "{study}"
# How many steps are shown.
SHOWN = 3
NOTHING = "Nothing: no image failed, and no search misses what a setting would find."


@dataclass(frozen=True)
class Action:
    """A command, as its words with `STUDY` for the study's folder, and its place among all."""

    order: int
    words: tuple[str, ...]


RETRY = Action(0, ("--retry-failed",))
NEAR_COPIES = Action(1, ("search", STUDY, "--groups", "near"))
MAP = Action(2, ("whiten", STUDY, "--out", "map.npz"))
MORE_IMAGES = Action(3, ("power", STUDY))
DUPLICATES = Action(4, ("search", STUDY))


@dataclass(frozen=True)
class Step:
    """Something to do; `STEPS` in a question's `tables.py` is a tuple of functions from a reader to one, or to None.

    Args:
        why: The reason, without a full stop.
        action: The command.
    """

    why: str
    action: Action

    def command(self, study: str) -> str:
        """Returns the command for a shell.

        Example:
            >>> Step("near-copies count as misses", NEAR_COPIES).command("my study")
            "embedshift search 'my study' --groups near"
        """
        return shlex.join(["embedshift", *(study if word == STUDY else word for word in self.action.words)])


def next_steps(reader: Reader) -> list[Step]:
    """Returns the first steps of a study."""
    parts = [question.part("tables") for question in reader.questions]
    functions: list[Callable[[Reader], Step | None]] = [_failed, *(f for part in parts for f in _steps(part))]
    found = [step for function in functions if (step := function(reader)) is not None]
    return sorted(found, key=lambda step: step.action.order)[:SHOWN]


def _steps(part: object) -> Sequence[Callable[[Reader], Step | None]]:
    return getattr(part, "STEPS", ())


def _failed(reader: Reader) -> Step | None:
    failed = reader.info.counts.failed
    if not failed:
        return None
    run = command_of(reader, STUDY, named=reader.pictures)[1:]
    again = Action(RETRY.order, (*run, *RETRY.words))
    return Step(f"{count(failed, 'image')} could not be measured: failures.parquet says why", again)
