"""How many images of a run may fail before its exit code says so."""

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from embedshift.errors import EmbedshiftError, UsageError


@dataclass(frozen=True)
class FailureLimit:
    """A number of images, or a fraction of all."""

    text: str
    number: Fraction
    is_fraction: bool

    def of(self, images: int) -> Fraction:
        return self.number * images if self.is_fraction else self.number


def failure_limit(text: "str | FailureLimit") -> FailureLimit:
    """Parses a whole number of images, or a number with a decimal point as a fraction of all."""
    if isinstance(text, FailureLimit):
        return text
    is_fraction = re.fullmatch(r"0?\.[0-9]{1,18}|[01]\.0*", text, re.ASCII) is not None
    if is_fraction or re.fullmatch(r"[0-9]{1,18}", text):
        return FailureLimit(text, Fraction(text), is_fraction)
    raise UsageError(f"--max-failed {text:.40}: give a number of images such as 10, or a fraction such as 0.01")


def refuse_failures(folder: Path, limit: FailureLimit) -> None:
    """Raises EmbedshiftError if more images of a finished study failed than may."""
    from embedshift.store.info import read_info

    info = read_info(folder)
    failed, tried = info.counts.failed, info.images_tried
    if failed > limit.of(tried):
        raise EmbedshiftError(
            f"{failed} of {tried} images could not be measured, more than --max-failed {limit.text}; "
            f"the study is complete without them: {folder}"
        )
