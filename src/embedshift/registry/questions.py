"""The declaration of a question, and the registry that finds all questions."""

import dataclasses
import functools
import importlib
import importlib.metadata
import importlib.util
import logging
import pkgutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from embedshift.errors import UsageError, reason
from embedshift.registry.names import Registry

log = logging.getLogger(__name__)

# The package of built-in questions, and the entry point group for other packages.
OUR_PACKAGE, ENTRY_POINTS = "embedshift.questions", "embedshift.questions"


def switched(given: Any) -> bool:
    """For `is_asked`: whether any of a question's settings differs from its default."""
    return bool(given != type(given)())


@dataclass(frozen=True)
class Question:
    """A question that a study can ask about an encoder.

    Args:
        package: The import name of its folder: `__name__` of its `__init__.py`.
        sentence: The question as a sentence.
        order: Its position among the questions, for the order of columns, tables, answers and sections of the page. The
            page's own sections are at 0 (answers), 40 (charts), 80 (the paper's figures), 100 (settings) and 110
            (glossary).
        switches: A frozen dataclass of its settings for a run, each a `setting`; None = no settings.
        is_asked: Function of these settings, or of all where it has none → whether a study asks the question; the
            default is always.
        choices: A frozen dataclass of its settings for tables and report; None = no settings.
        for_pairs: Whether it makes sense for pairs, whose views another program made.
        for_originals: Whether it makes sense for a study of originals alone.
        for_vectors: Whether it makes sense without pixels and attention, for a study of vectors.
        figures: Name → number and title of each figure that its `figures.py` draws, so that figures can be listed
            without importing matplotlib.
    """

    package: str
    sentence: str
    order: int
    switches: type | None = None
    is_asked: Callable[[Any], bool] = lambda _: True
    choices: type | None = None
    for_pairs: bool = True
    for_originals: bool = False
    for_vectors: bool = True
    figures: Mapping[str, tuple[str, str]] = dataclasses.field(default_factory=dict, hash=False)

    @property
    def name(self) -> str:
        """The name of its folder."""
        return self.package.rpartition(".")[2]

    def part(self, name: str) -> ModuleType | None:
        """Imports one of its files.

        Args:
            name: The file's name without ".py".

        Returns:
            The module; None if there is no such file.

        Raises:
            UsageError: The file of another package cannot be imported.
        """
        module: ModuleType | None = part_of(self.package, name)
        return module


def part_of(package: str, name: str, *, needed: bool = False) -> Any:
    """Imports a file of a question's folder; returns None if it is not there, unless it is needed."""
    full = f"{package}.{name}"
    try:
        return importlib.import_module(full) if needed or full in sys.modules or _is_there(full) else None
    except Exception as error:
        if package.startswith(OUR_PACKAGE):
            raise
        short = package.rpartition(".")[2]
        raise UsageError(f"the question {short!r}: its {name}.py cannot be loaded ({reason(error)})") from error


@functools.cache
def _is_there(module: str) -> bool:
    """Looks for the file of a module, which takes longer than all else that is asked of a question's parts."""
    return importlib.util.find_spec(module) is not None


def find_questions() -> None:
    """Imports built-in questions and those of installed packages; each adds itself to `QUESTIONS`."""
    for module in pkgutil.iter_modules(importlib.import_module(OUR_PACKAGE).__path__):
        importlib.import_module(f"{OUR_PACKAGE}.{module.name}")
    for entry in importlib.metadata.entry_points(group=ENTRY_POINTS):
        try:
            entry.load()
        except Exception as error:  # another package must not break every command
            log.warning("the question %r of another package cannot be loaded (%s)", entry.name, reason(error))


QUESTIONS: Registry[Question] = Registry("question", find_questions)


def questions() -> list[Question]:
    """Returns all questions in order."""
    return sorted((QUESTIONS[name] for name in QUESTIONS), key=lambda question: (question.order, question.name))


def import_parts(name: str) -> list[ModuleType]:
    """Imports one file of every question that has it; logs and skips files of other packages that fail.

    Args:
        name: The file's name without ".py".
    """
    modules: list[ModuleType | None] = []
    for question in questions():
        try:
            modules.append(question.part(name))
        except UsageError as error:
            log.warning("%s", error)
    return [part for part in modules if part is not None]


def switch_kinds() -> list[type]:
    """Returns the dataclasses of the questions' settings for a run, in order."""
    return [question.switches for question in questions() if question.switches]
