"""How many images of a run may fail before its exit code says so."""

import re
from fractions import Fraction
from pathlib import Path

from embedshift.errors import EmbedshiftError, UsageError

HALF = "0.5"


def failure_limit(text: str) -> str:
    """Returns a limit: a whole number of images, or a number with a decimal point as a fraction of all."""
    if re.fullmatch(r"[0-9]{1,18}|0?\.[0-9]{1,18}|[01]\.0*", text, re.ASCII) is None:
        raise UsageError(f"--max-failed {text:.40}: give a number of images such as 10, or a fraction such as 0.01")
    return text


def most_failed(limit: str, images: int) -> Fraction:
    return Fraction(limit) * (images if "." in limit else 1)


def refuse_failures(folder: Path, limit: str) -> None:
    """Raises EmbedshiftError if more images of a finished study failed than may."""
    from embedshift.store.info import read_info

    info = read_info(folder)
    failed, tried = info.counts.failed, info.images_tried
    if failed > most_failed(limit, tried):
        than = "half" if limit == HALF else f"--max-failed {limit}"
        raise EmbedshiftError(
            f"{failed} of {tried} images could not be measured, more than {than}; "
            f"the study is complete without them: {folder}"
        )
