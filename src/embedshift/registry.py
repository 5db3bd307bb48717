"""Name → thing: one small registry for augmentation suites, encoders, metrics and figures."""

import difflib
from collections.abc import Iterator
from typing import Generic, TypeVar

from embedshift.errors import EmbedshiftError

T = TypeVar("T")


class Registry(Generic[T]):
    """Things of one kind by name, in the order in which they were added.

    Args:
        kind: The noun that errors use, for example "metric".

    Example:
        >>> suites = Registry[str]("augmentation suite")
        >>> suites.add("paper", "nine augmentations")
        'nine augmentations'
        >>> list(suites), suites["paper"]
        (['paper'], 'nine augmentations')
        >>> suites["papr"]
        Traceback (most recent call last):
        embedshift.errors.EmbedshiftError: unknown augmentation suite 'papr'; did you mean 'paper'? Known: paper
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._things: dict[str, T] = {}

    def add(self, name: str, thing: T) -> T:
        """Adds `thing` under `name` and gives it back; a name that is taken raises ValueError."""
        if name in self._things:
            raise ValueError(f"{self.kind} {name!r} is registered twice")
        self._things[name] = thing
        return thing

    def __getitem__(self, name: str) -> T:
        """The thing called `name`; an unknown name raises EmbedshiftError (exit code 2) with the nearest known one."""
        if name not in self._things:
            raise EmbedshiftError(unknown_name(self.kind, name, self._things), exit_code=2)
        return self._things[name]

    def __contains__(self, name: object) -> bool:
        return name in self._things

    def __iter__(self) -> Iterator[str]:
        return iter(self._things)

    def __len__(self) -> int:
        return len(self._things)


def unknown_name(kind: str, name: str, known: dict[str, T]) -> str:
    """The line for a name that is not known: the nearest known one, then all of them.

    Example:
        >>> unknown_name("metric", "cosin", {"cosine": 1})
        "unknown metric 'cosin'; did you mean 'cosine'? Known: cosine"
    """
    nearest = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else "."
    return f"unknown {kind} {name!r}{hint} Known: {', '.join(known)}"
