"""The errors that embedshift raises for its users: one base class and its kinds.

Each message is one line that names the cause and says what to do. Settings appear in backticks under their Python
names (`batch_size`); the command line replaces them by its flags.
"""

import contextlib
import signal
import traceback
from collections.abc import Iterator


class EmbedshiftError(Exception):
    """An error that the user can correct, such as a wrong path or a model that cannot be loaded.

    The command line prints the message without a traceback and exits with `exit_code`. Code 1 means: no image was
    found, nothing was measured, or the model cannot be loaded.

    Args:
        message: The message; line breaks and repeated spaces become single spaces.

    Example:
        >>> str(EmbedshiftError("photos: no image   here"))
        'photos: no image here'
    """

    exit_code = 1

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class UsageError(EmbedshiftError):
    """Wrong usage: a missing path, an unknown name, or a setting that is not accepted; exit code 2.

    Example:
        >>> UsageError("photos: no such folder").exit_code
        2
    """

    exit_code = 2


class Transient(EmbedshiftError):
    """Raised by an encoder of images if the same call may succeed later: a service is busy or does not answer."""


class MissingExtra(EmbedshiftError):
    """An optional library is not installed.

    Args:
        what: The feature that needs the library.
        extra: The extra of embedshift that installs it.

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


@contextlib.contextmanager
def foreign_code() -> Iterator[None]:
    """Turns `sys.exit()` in foreign code into an EmbedshiftError, since it would look like the end of a run.

    Example:
        >>> with foreign_code():
        ...     raise SystemExit(0)
        Traceback (most recent call last):
        embedshift.errors.EmbedshiftError: it called sys.exit(0)
    """
    try:
        yield
    except SystemExit as error:
        handlers = {getattr(signal.getsignal(number), "__code__", None) for number in signal.valid_signals()}
        if any(frame.f_code in handlers for frame, _ in traceback.walk_tb(error.__traceback__)):
            raise  # the caller's own way to stop at a signal
        raise EmbedshiftError(f"it called sys.exit({'' if error.code is None else repr(error.code)})") from error


def cause(error: BaseException) -> str:
    """Returns why an image failed: for a file that cannot be read the system's message, otherwise `reason(error)`.

    Args:
        error: The exception.

    Example:
        >>> cause(FileNotFoundError(2, "No such file or directory"))
        'No such file or directory'
    """
    return (error.strerror if isinstance(error, OSError) else None) or reason(error)


def reason(error: BaseException) -> str:
    r"""Formats any exception as one line.

    Args:
        error: The exception.

    Returns:
        The message of an `EmbedshiftError`; `Type: message` for other exceptions.

    Example:
        >>> reason(ValueError("bad\nvalue"))
        'ValueError: bad value'
    """
    try:
        words = " ".join(str(error).split())
    except Exception:  # the message of an exception may be anybody's code
        words = ""
    if isinstance(error, EmbedshiftError):
        return words
    return f"{type(error).__name__}: {words}" if words else type(error).__name__
