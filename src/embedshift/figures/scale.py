"""The ruler of shares: from the same image to an unrelated one."""

# Between these shares the nearest other image has a mark of its own; elsewhere its words would cover another mark's.
_APART = 0.15, 0.85


def marks(near: float | None, of: str = "other image") -> dict[float, tuple[str, str]]:
    """The marks of the ruler: share → two lines of words.

    Args:
        near: Mean share of the nearest other image; None where it is not known.
        of: Among which images it is the nearest.

    Example:
        >>> marks(0.5)
        {0.0: ('same', 'image'), 1.0: ('unrelated', 'image'), 0.5: ('nearest', 'other image')}
        >>> list(marks(0.9))
        [0.0, 1.0]
    """
    found = {0.0: ("same", "image"), 1.0: ("unrelated", "image")}
    if near is not None and _APART[0] < near < _APART[1]:
        found[near] = "nearest", of
    return found


def ends(low: float, high: float) -> tuple[float, float]:
    """Where the ruler begins and ends, so that both marks and all shares from `low` to `high` are on it.

    Example:
        >>> ends(0.1, 0.4), ends(-0.5, 2.0)
        ((-0.02, 1.12), (-0.5, 2.24))
    """
    return min(-0.02, low), 1.12 * max(1.0, high)
