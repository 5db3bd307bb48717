"""The one error class that a user of embedshift meets."""


class EmbedshiftError(Exception):
    """A mistake or a missing thing that the user can mend.

    The message is one line: it names the thing and says what to do. The command line prints it without a traceback
    and ends with `exit_code`.

    Args:
        message: The line to show.
        exit_code: 1 = no image, nothing measured, or a model that cannot be loaded; 2 = wrong usage, missing path,
            unknown name or refused configuration.

    Example:
        >>> EmbedshiftError("photos: no such folder", exit_code=2).exit_code
        2
    """

    def __init__(self, message: str, *, exit_code: int = 1) -> None:
        super().__init__(" ".join(message.split()))
        self.exit_code = exit_code


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
