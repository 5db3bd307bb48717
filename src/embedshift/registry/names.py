"""Name → thing: one small registry for suites, encoders, observations, metrics, questions and figures."""

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Generic, TypeVar

from embedshift.errors import UsageError

T = TypeVar("T")


class Registry(Generic[T]):
    """Things of one kind by name, in the order in which they were added.

    Args:
        kind: The noun that errors use, for example "metric".
        fill: Called before the first look inside: imports the modules that add what is missing.

    Example:
        >>> suites = Registry[str]("augmentation suite")
        >>> suites.add("paper", "nine augmentations")
        'nine augmentations'
        >>> list(suites), suites["paper"]
        (['paper'], 'nine augmentations')
        >>> suites["papr"]
        Traceback (most recent call last):
        embedshift.errors.UsageError: unknown augmentation suite 'papr'; did you mean 'paper'? Known: paper
    """

    def __init__(self, kind: str, fill: Callable[[], object] | None = None) -> None:
        self.kind, self._fill = kind, fill
        self._things: dict[str, T] = {}

    def add(self, name: str, thing: T) -> T:
        """Adds `thing` under `name` and gives it back; a name that is taken raises ValueError."""
        if name in self._things:
            raise ValueError(f"{self.kind} {name!r} is registered twice")
        self._things[name] = thing
        return thing

    def __getitem__(self, name: str) -> T:
        """The thing called `name`; an unknown name raises UsageError with the nearest known one."""
        if name not in self:
            raise UsageError(unknown_name(self.kind, name, self._things))
        return self._things[name]

    def get(self, name: str) -> T | None:
        """The thing called `name`; None where there is none."""
        return self._filled().get(name)

    def __contains__(self, name: object) -> bool:
        return name in self._filled()

    def __iter__(self) -> Iterator[str]:
        return iter(self._filled())

    def __len__(self) -> int:
        return len(self._filled())

    def _filled(self) -> dict[str, T]:
        fill, self._fill = self._fill, None
        try:
            if fill is not None:
                fill()
        except BaseException:
            self._fill = fill
            raise
        return self._things


def one_of(kind: str, value: str, known: Sequence[str]) -> None:
    """Raises UsageError for a value that is none of the known ones.

    Example:
        >>> one_of("linkage", "word", ["ward", "single"])
        Traceback (most recent call last):
        embedshift.errors.UsageError: unknown linkage 'word'; did you mean 'ward'? Known: ward, single
    """
    if value not in known:
        raise UsageError(unknown_name(kind, value, dict.fromkeys(known)))


def unknown_name(kind: str, name: str, known: Mapping[str, object]) -> str:
    """The line for a name that is not known: the nearest known one, then all of them.

    Example:
        >>> unknown_name("metric", "cosin", {"cosine": 1})
        "unknown metric 'cosin'; did you mean 'cosine'? Known: cosine"
    """
    nearest = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else "."
    return f"unknown {kind} {name!r}{hint} Known: {', '.join(known)}"
