"""The ruler of relative shifts: from the same image to another one."""

import polars as pl

from embedshift.statistics.sample import OF_A_SET

# Between these relative shifts the nearest other image has a mark of its own; elsewhere the words of two marks overlap.
_APART = 0.15, 0.85


def marks(near: float | None, among: str = "other image") -> dict[float, tuple[str, str]]:
    """The marks of the ruler: relative shift → two lines of words."""
    words = {0.0: ("same", "image"), 1.0: ("another", "image")}
    if near is not None and _APART[0] < near < _APART[1]:
        words[near] = "nearest", among
    return words


def ends(low: float, high: float) -> tuple[float, float]:
    """Where the ruler begins and ends, so that both marks and all relative shifts from `low` to `high` are on it."""
    return min(-0.02, low), 1.12 * max(1.0, high)


def nearest_cosine(geometry: pl.DataFrame | None) -> float | None:
    """Returns the mean cosine of an image with its nearest other one, from that table; None if it is not there."""
    if geometry is None:
        return None
    cosines = geometry.filter((pl.col("views") == "original") & (pl.col("metric") == "nearest_cosine"))["value"]
    return next(iter(cosines.drop_nulls().to_list()), None)


def nearest_of(images: int) -> str:
    return f"of {OF_A_SET} images" if images > OF_A_SET else "other image"
