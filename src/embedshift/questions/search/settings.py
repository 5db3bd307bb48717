"""The settings of a search: from the choices, else from the stored tables, else the defaults."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from embedshift.errors import UsageError
from embedshift.questions.search import Choices
from embedshift.store.reader import Reader

QUERIES, FALSE_MATCH_RATES, ALL = 2_000, (0.01, 0.001), "all"
# Ten pairs of a hundred million images give a higher rate.
LEAST_RATE = 1e-15
# Tables that one search makes.
SEARCHED = ("search_ranks", "search_neighbours", "gallery_sizes", "hubs")
# Increased when a change of this question changes its tables.
VERSION = "1"


@dataclass(frozen=True)
class Settings:
    queries: int | None = QUERIES
    false_match_rates: tuple[float, ...] = FALSE_MATCH_RATES
    gallery: str = ""
    gallery_is_lost: bool = False
    groups: str = ""

    @property
    def for_ranks(self) -> dict[str, str]:
        """The settings of the tables of ranks."""
        groups = {"groups": self.groups} if self.groups else {}
        return {"version": VERSION, "queries": str(self.queries or ALL), "gallery": self.gallery} | groups

    @property
    def for_thresholds(self) -> dict[str, str]:
        """The settings of the tables that also depend on the false-match rates."""
        return self.for_ranks | {"false_match_rate": ",".join(map(repr, self.false_match_rates))}


def settings(reader: Reader) -> Settings:
    """The settings of a study's search: those chosen now, else those of the stored tables, else the defaults."""
    chosen = reader.choice(Choices)
    stored = [reader.kept_settings(name) for name in SEARCHED]
    previous = next((labels for labels in stored if labels.get("version") == VERSION), {})
    queries = parse_queries(str(previous.get("queries", QUERIES) if chosen.queries is None else chosen.queries))
    rates = parse_rates(_rates(reader, chosen.false_match_rate))
    groups = reader.info.groups_digest
    if chosen.gallery is not None:
        return Settings(queries, rates, gallery_label(str(chosen.gallery)), groups=groups)
    is_same = previous.get("queries") == str(queries or ALL) and previous.get("groups", "") == groups
    if is_same and all(labels == previous for labels in stored):
        return Settings(queries, rates, previous["gallery"], groups=groups)
    # The search is repeated, and its tables do not hold the path of the gallery.
    return Settings(queries, rates, gallery_is_lost=any(labels.get("gallery") for labels in stored), groups=groups)


def _rates(reader: Reader, chosen: Sequence[float | str] | None) -> Sequence[float | str]:
    stored = reader.kept_settings("thresholds").get("false_match_rate")
    return stored.split(",") if chosen is None and stored is not None else chosen or FALSE_MATCH_RATES


def parse_queries(text: str) -> int | None:
    """Parses a number of images; None for all."""
    if text == ALL:
        return None
    if not text.isdecimal() or len(text) > 12 or int(text) < 1:
        raise UsageError(f"`queries`: give a number of at least 1, or all; not {text!r:.40}")
    return int(text)


def parse_rates(texts: Sequence[float | str]) -> tuple[float, ...]:
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
    file = Path(path).expanduser()
    if (file / "shards").is_dir():
        return f"{file.resolve().name}|{Reader(file).measured_checksum()}"
    try:
        stat = os.stat(file)
    except OSError as error:
        raise UsageError(f"`gallery`: {path}: {error.strerror}") from error
    return f"{file.name}|{hashlib.sha256(f'{stat.st_size} {stat.st_mtime_ns}'.encode()).hexdigest()}"
