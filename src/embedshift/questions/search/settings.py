"""What a search was made with: from what is chosen, else as the kept tables say, else the defaults."""

import hashlib
import logging
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from embedshift.errors import UsageError
from embedshift.questions.search import Choices
from embedshift.store.labels import labels_of, shards_hash
from embedshift.store.reader import Reader

log = logging.getLogger(__name__)

QUERIES, FMRS, ALL = 2_000, (0.01, 0.001), "all"
# Goes up when a change of this question changes its tables.
VERSION = "1"


@dataclass(frozen=True)
class Settings:
    """What a search is made with.

    Args:
        queries: How many images, from the first in the study's order; None = all.
        fmrs: False-match rates, the largest first.
        gallery: Name and hash of what else is searched through; "" = nothing.
    """

    queries: int | None = QUERIES
    fmrs: tuple[float, ...] = FMRS
    gallery: str = ""

    @property
    def of_search(self) -> dict[str, str]:
        """As the labels of the tables of ranks."""
        return {"version": VERSION, "queries": str(self.queries or ALL), "gallery": self.gallery}

    @property
    def of_thresholds(self) -> dict[str, str]:
        """As the labels of the tables that depend on the false-match rates too."""
        return self.of_search | {"fmr": ",".join(map(repr, self.fmrs))}


def settings(reader: Reader) -> Settings:
    """The settings of a study's search.

    Raises:
        UsageError: for a choice that makes no sense.
    """
    chosen = reader.choice(Choices)
    kept = labels_of(reader.folder, "search_ranks") | labels_of(reader.folder, "thresholds")
    kept = kept if kept.get("version") == VERSION else {}
    queries = parse_queries(kept.get("queries", str(QUERIES)) if chosen.queries is None else chosen.queries)
    fmrs = parse_rates(kept["fmr"].split(",") if chosen.fmr is None and "fmr" in kept else chosen.fmr or FMRS)
    if chosen.gallery is not None:
        return Settings(queries, fmrs, gallery_label(chosen.gallery))
    gallery = kept.get("gallery", "")
    if gallery and kept["queries"] != str(queries or ALL):
        log.warning("the search is made again without the gallery of before: name it by `gallery`")
        gallery = ""
    return Settings(queries, fmrs, gallery)


def parse_queries(text: str) -> int | None:
    """A number of images; None for all.

    Example:
        >>> parse_queries("all"), parse_queries("500")
        (None, 500)
    """
    if text == ALL:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"`queries`: give a number of images from 1 on, or all; not {text!r}")
    return int(text)


def parse_rates(texts: tuple[str | float, ...] | list[str]) -> tuple[float, ...]:
    """False-match rates, the largest first, each once.

    Example:
        >>> parse_rates(["0.001", "0.01"])
        (0.01, 0.001)
    """
    try:
        rates = [float(text) for text in texts]
    except ValueError as error:
        raise UsageError(f"`fmr`: {error}; give numbers between 0 and 1, with commas") from error
    if wrong := [rate for rate in rates if not (math.isfinite(rate) and 0 < rate < 1)]:
        raise UsageError(f"`fmr`: {wrong[0]:g} is no rate between 0 and 1")
    return tuple(sorted(set(rates), reverse=True))


def gallery_label(path: str) -> str:
    """Name and hash of a gallery; "" for none.

    Raises:
        UsageError: where there is nothing of that name.
    """
    if not path:
        return ""
    place = Path(path).expanduser()
    if (place / "shards").is_dir():
        return f"{place.resolve().name}|{shards_hash(place)}"
    try:
        stat = os.stat(place)
    except OSError as error:
        raise UsageError(f"`gallery`: {path}: {error.strerror}") from error
    return f"{place.name}|{hashlib.sha256(f'{stat.st_size} {stat.st_mtime_ns}'.encode()).hexdigest()}"


def gallery_name(labels: Mapping[str, str]) -> str:
    """What the gallery of some labels is called; "" where there is none."""
    return labels.get("gallery", "").partition("|")[0]
