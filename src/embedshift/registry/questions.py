"""The questions that a study asks: what declares one, and where they are found."""

import dataclasses
import functools
import importlib
import importlib.metadata
import importlib.util
import logging
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from embedshift.errors import UsageError, reason
from embedshift.registry.names import Registry

log = logging.getLogger(__name__)

# The folder of our own questions, and the entry points by which other packages bring theirs.
OWN, ENTRY_POINTS = "embedshift.questions", "embedshift.questions"


def setting(default: Any, words: str, *, rare: bool = False, flag: str = "") -> Any:
    """A field of a dataclass of settings, from which the command line makes its option.

    Args:
        default: Its value where nothing is given.
        words: One line for `--help`.
        rare: Whether it stands in the panel of the options that few need.
        flag: The option, where it is not called like the field.

    Example:
        >>> @dataclass(frozen=True)
        ... class Switches:
        ...     depth: int = setting(3, "How deep.")
        >>> Switches().depth, dataclasses.fields(Switches)[0].metadata["words"]
        (3, 'How deep.')
    """
    return dataclasses.field(default=default, metadata={"words": words, "rare": rare, "flag": flag})


@dataclass(frozen=True)
class Question:
    """Something that a study can ask about an encoder.

    Args:
        package: Its folder's name as Python imports it: `__name__` of its `__init__.py`.
        sentence: The question.
        place: Where it stands among the questions, for the order of columns, tables and sections.
        switches: A frozen dataclass of its settings of a run, each a `setting`; None = it has none.
        is_asked: Whether a study with these switches asks it; by default always.
        choices: A frozen dataclass of what can be chosen when tables and report are made; None = nothing.
        of_pairs: Whether it can be asked of pairs, whose views something else than our augmentations made.
        figures: Name → number and title of each figure that its `figures.py` draws, so that they can be listed without
            what drawing takes.
    """

    package: str
    sentence: str
    place: int
    switches: type | None = None
    is_asked: Callable[[Any], bool] = lambda _: True
    choices: type | None = None
    of_pairs: bool = True
    figures: Mapping[str, tuple[str, str]] = dataclasses.field(default_factory=dict, hash=False)

    @property
    def name(self) -> str:
        """The name of its folder."""
        return self.package.rpartition(".")[2]

    def part(self, name: str) -> ModuleType | None:
        """One of its files, imported; None where it has none of that name."""
        full = f"{self.package}.{name}"
        try:
            return importlib.import_module(full) if importlib.util.find_spec(full) else None
        except Exception as error:
            if self.package.startswith(OWN):
                raise
            raise UsageError(f"the question {self.name!r}: its {name}.py cannot be loaded ({reason(error)})") from error


def find_questions() -> None:
    """Imports our own questions and those that installed packages bring; each adds itself to `QUESTIONS`."""
    for found in pkgutil.iter_modules(importlib.import_module(OWN).__path__):
        importlib.import_module(f"{OWN}.{found.name}")
    for entry in importlib.metadata.entry_points(group=ENTRY_POINTS):
        try:
            entry.load()
        except Exception as error:  # somebody else's package must not end every command
            log.warning("the question %r of another package cannot be loaded (%s)", entry.name, reason(error))


QUESTIONS: Registry[Question] = Registry("question", find_questions)


def questions() -> list[Question]:
    """All questions, in order."""
    return sorted((QUESTIONS[name] for name in QUESTIONS), key=lambda each: (each.place, each.name))


def import_parts(name: str) -> list[ModuleType]:
    """One file of every question that has it; one of another package that cannot be imported is logged and left out."""
    found: list[ModuleType | None] = []
    for each in questions():
        try:
            found.append(each.part(name))
        except UsageError as error:
            log.warning("%s", error)
    return [part for part in found if part is not None]


@functools.cache
def switch_names() -> dict[str, str]:
    """Setting of a question → the question."""
    return {
        field.name: each.name for each in questions() if each.switches for field in dataclasses.fields(each.switches)
    }
