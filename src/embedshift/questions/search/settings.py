"""The settings of a search: from the choices, else from the stored tables, else the defaults."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from embedshift.errors import UsageError
from embedshift.questions.search import Choices
from embedshift.store.labels import labels_of, shards_hash
from embedshift.store.reader import Reader

QUERIES, FMRS, ALL = 2_000, (0.01, 0.001), "all"
# Ten pairs of a hundred million images give a higher rate.
LEAST_RATE = 1e-15
# Tables that one search makes.
SEARCHED = ("search_ranks", "search_neighbours", "gallery_sizes")
# Increased when a change of this question changes its tables.
VERSION = "1"


@dataclass(frozen=True)
class Settings:
    """The settings of a search."""

    queries: int | None = QUERIES
    false_match_rates: tuple[float, ...] = FMRS
    gallery: str = ""
    lost: bool = False

    @property
    def of_search(self) -> dict[str, str]:
        """The labels of the tables of ranks."""
        return {"version": VERSION, "queries": str(self.queries or ALL), "gallery": self.gallery}

    @property
    def of_thresholds(self) -> dict[str, str]:
        """The labels of the tables that also depend on the false-match rates."""
        return self.of_search | {"false_match_rate": ",".join(map(repr, self.false_match_rates))}


def settings(reader: Reader) -> Settings:
    """Returns the settings of a study's search."""
    chosen = reader.choice(Choices)
    of_thresholds, *of_search = (labels_of(reader.folder, name) for name in ("thresholds", *SEARCHED))
    kept = next((each for each in of_search if each.get("version") == VERSION), {})
    queries = parse_queries(kept.get("queries", str(QUERIES)) if chosen.queries is None else chosen.queries)
    rates = (
        of_thresholds["false_match_rate"].split(",")
        if chosen.false_match_rate is None and "false_match_rate" in of_thresholds
        else chosen.false_match_rate or FMRS
    )
    false_match_rates = parse_rates(rates)
    if chosen.gallery is not None:
        return Settings(queries, false_match_rates, gallery_label(chosen.gallery))
    # A gallery that is not named cannot be searched again, where queries differ or a table of that search is gone.
    again = kept.get("queries") != str(queries or ALL) or any(each != kept for each in of_search)
    had_one = any(each.get("gallery") for each in of_search)
    return Settings(queries, false_match_rates, "" if again else kept["gallery"], lost=again and had_one)


def parse_queries(text: str) -> int | None:
    """Parses a number of images; None for all."""
    if text == ALL:
        return None
    if not text.isdecimal() or len(text) > 12 or int(text) < 1:
        raise UsageError(f"`queries`: give a number of at least 1, or all; not {text!r:.40}")
    return int(text)


def parse_rates(texts: tuple[str | float, ...] | list[str]) -> tuple[float, ...]:
    """Parses false-match rates; returns each once, the largest first."""
    try:
        rates = [float(text) for text in texts]
    except ValueError as error:
        raise UsageError(f"`false_match_rate`: {error}; give numbers between 0 and 1, with commas") from error
    if wrong := [rate for rate in rates if not LEAST_RATE <= rate < 1]:
        raise UsageError(f"`false_match_rate`: {wrong[0]:g} is not a rate between {LEAST_RATE:g} and 1")
    return tuple(sorted(set(rates), reverse=True))


def gallery_label(path: str) -> str:
    """Returns name and hash of a gallery; "" for none."""
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
