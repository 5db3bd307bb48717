"""`Registry`: named entries of one kind, such as suites, encoders, metrics, questions and figures."""

import difflib
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Generic, TypeVar

from embedshift.errors import UsageError

T = TypeVar("T")

# Names of commands, tables and functions that went, and what takes their place.
REPLACED = dict.fromkeys(("codes", "whiten", "whitening", "layouts", "layout_tolerance"), "`embedshift index`") | {
    "lock": "the option `lock` of `embedshift parity`", "card": "the option `card` of `embedshift report`",
}  # fmt: skip


class Registry(Generic[T]):
    """Entries of one kind by name, in the order in which they were added.

    Args:
        kind: The noun for error messages, such as "metric".
        fill: Called before the first lookup; it imports the modules that add entries.

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
        self._entries: dict[str, T] = {}

    def add(self, name: str, thing: T) -> T:
        """Adds an entry.

        Args:
            name: Its name.
            thing: The entry.

        Returns:
            The entry.

        Raises:
            ValueError: The name is taken.
        """
        if name in self._entries:
            raise ValueError(f"{self.kind} {name!r} is registered twice")
        self._entries[name] = thing
        return thing

    def put(self, name: str, thing: T) -> None:
        """Adds an entry, or replaces the one with this name."""
        self._filled()[name] = thing

    def __getitem__(self, name: str) -> T:
        """Returns the entry `name`; raises UsageError with the nearest known name if it is unknown."""
        if name not in self:
            raise UsageError(unknown_name(self.kind, name, self._entries))
        return self._entries[name]

    def get(self, name: str) -> T | None:
        """Returns the entry `name`, or None."""
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
        return self._entries


def one_of(kind: str, value: str, known: Sequence[str]) -> None:
    """Checks that a value is one of the known ones.

    Args:
        kind: The noun for the error message.
        value: The value.
        known: The known values.

    Raises:
        UsageError: The value is not known.

    Example:
        >>> one_of("linkage", "word", ["ward", "single"])
        Traceback (most recent call last):
        embedshift.errors.UsageError: unknown linkage 'word'; did you mean 'ward'? Known: ward, single
    """
    if value not in known:
        raise UsageError(unknown_name(kind, value, known))


def unknown_name(kind: str, name: str, known: Collection[str]) -> str:
    """Returns the message for an unknown name: the nearest known name, then all names.

    Args:
        kind: The noun for the message.
        name: The unknown name.
        known: The known names.

    Example:
        >>> unknown_name("metric", "cosin", ["cosine"])
        "unknown metric 'cosin'; did you mean 'cosine'? Known: cosine"
    """
    if name in REPLACED:
        return f"{kind} {name!r} is gone: {REPLACED[name]} takes its place"
    nearest = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else "."
    return f"unknown {kind} {name!r}{hint} Known: {', '.join(known)}"
