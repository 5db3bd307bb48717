"""Settings declared as fields of dataclasses, from which options of the command line and keywords are made."""

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from embedshift.errors import UsageError
from embedshift.registry.names import unknown_name

T = TypeVar("T")


def setting(default: Any, words: str, *, rare: bool = False, flag: str = "", output: bool = False) -> Any:
    """Declares a field of a dataclass of settings; the command line makes an option from it.

    Args:
        default: The default value.
        words: One line for `--help`.
        rare: Whether the option belongs to the panel of rarely used options.
        flag: The option's name, where it differs from the field's.
        output: Whether its value is the path of a file or folder to write.

    Returns:
        The dataclass field.

    Example:
        >>> @dataclasses.dataclass(frozen=True)
        ... class Switches:
        ...     depth: int = setting(3, "How deep.")
        >>> Switches().depth, dataclasses.fields(Switches)[0].metadata["words"]
        (3, 'How deep.')
    """
    metadata = {"words": words, "rare": rare, "flag": flag, "output": output, "argument": ""}
    return dataclasses.field(default=default, metadata=metadata)


def argument(words: str, metavar: str = "DIR", *, optional: bool = False) -> Any:
    """Declares a field that a command takes by its position.

    Args:
        words: One line for `--help`.
        metavar: How `--help` names it.
        optional: Whether it may be missing; it is None then.
    """
    metadata = {"words": words, "rare": False, "flag": "", "output": False, "argument": metavar}
    return dataclasses.field(default=None if optional else dataclasses.MISSING, metadata=metadata)


def made(kind: type[T], given: Mapping[str, Any], of: str) -> T:
    """Makes a dataclass of settings from keywords.

    Args:
        kind: The dataclass.
        given: Name → value.
        of: What the settings belong to, for the error message, such as "search".

    Raises:
        UsageError: A keyword is not a setting; the message names the nearest one.

    Example:
        >>> made(dataclasses.make_dataclass("Tree", ["linkage"]), {"linkge": "ward"}, "clusters")
        Traceback (most recent call last):
        embedshift.errors.UsageError: unknown setting of clusters 'linkge'; did you mean 'linkage'? Known: linkage
    """
    names = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    for name in given:
        if name not in names:
            raise UsageError(unknown_name(f"setting of {of}", name, names))
    return kind(**given)
