"""The errors that a user of embedshift meets: one class, and its kinds.

A message is one line: it names the thing and says what to do. A setting stands between backticks by its name in Python
(`batch_size`); the command line writes its flag instead.
"""


class EmbedshiftError(Exception):
    """A mistake or a missing thing that the user can mend.

    The command line prints the line without a traceback and ends with `exit_code`: 1 = no image, nothing measured, or a
    model that cannot be loaded.

    Args:
        message: The line to show.

    Example:
        >>> str(EmbedshiftError("photos: no image   here"))
        'photos: no image here'
    """

    exit_code = 1

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class UsageError(EmbedshiftError):
    """Wrong usage, a missing path, an unknown name, or a refused setting.

    Example:
        >>> UsageError("photos: no such folder").exit_code
        2
    """

    exit_code = 2


class MissingExtra(EmbedshiftError):
    """An optional library that is not installed.

    Args:
        what: What needs it.
        extra: The extra of embedshift that brings it.

    Example:
        >>> raise MissingExtra("the Ray engine", "ray")
        Traceback (most recent call last):
        embedshift.errors.MissingExtra: the Ray engine needs the extra 'ray': pip install 'embedshift[ray]'
    """

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs the extra {extra!r}: pip install 'embedshift[{extra}]'")
        self._given = what, extra

    def __reduce__(self) -> tuple[type["MissingExtra"], tuple[str, str]]:
        return MissingExtra, self._given


def cause(error: BaseException) -> str:
    """Why one image failed: the system's own words for a file that cannot be read, else `reason`.

    Example:
        >>> cause(FileNotFoundError(2, "No such file or directory"))
        'No such file or directory'
    """
    return (error.strerror if isinstance(error, OSError) else None) or reason(error)


def reason(error: BaseException) -> str:
    r"""One readable line for any exception: its own words for ours, `Type: words` for others.

    Example:
        >>> reason(ValueError("bad\nvalue"))
        'ValueError: bad value'
    """
    words = " ".join(str(error).split())
    if isinstance(error, EmbedshiftError):
        return words
    return f"{type(error).__name__}: {words}" if words else type(error).__name__
