"""The settings of a search: from the choices, else from the stored tables, else the defaults."""

import functools
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from embedshift.config.safe_files import expanded
from embedshift.errors import UsageError
from embedshift.questions.search import Choices
from embedshift.sources.stores import address_of, state_of
from embedshift.statistics.duplicates import EXPECTED_FALSE, FAISS, FIRST
from embedshift.statistics.search_index import LEAST_PAIRED, has_faiss
from embedshift.store.reader import Reader

QUERIES, FALSE_MATCH_RATES, ALL = 2_000, (0.01, 0.001), "all"
# Ten pairs of a hundred million images give a higher rate.
LEAST_RATE = 1e-15
# Tables that one search makes.
SEARCHED = ("search_ranks", "search_neighbours", "gallery_sizes", "hubs")
# Increased when a change of this question changes its tables.
VERSION, DUPLICATES_VERSION = "2", "3"


@dataclass(frozen=True)
class Settings:
    queries: int | None = QUERIES
    false_match_rates: tuple[float, ...] = FALSE_MATCH_RATES
    gallery: str = ""
    gallery_is_lost: bool = False
    groups: str = ""
    # The cosine from which pairs are duplicates; None = that at which so many false pairs are expected.
    threshold: float | None = None
    expected_false: float = EXPECTED_FALSE
    # How near-copies are found among many images; "" = all pairs are compared.
    compared: str = ""

    @property
    def for_all(self) -> dict[str, str]:
        return {"groups": self.groups} if self.groups else {}

    @property
    def for_ranks(self) -> dict[str, str]:
        return {"version": VERSION, "queries": str(self.queries or ALL), "gallery": self.gallery} | self.for_all

    @property
    def for_thresholds(self) -> dict[str, str]:
        return self.for_ranks | {"false_match_rate": ",".join(map(repr, self.false_match_rates))}

    def from_where(self, reader: Reader) -> dict[str, Any]:
        """Returns which pairs are listed, and the memory to find them."""
        memory = reader.choice(Choices).memory
        return {"threshold": self.threshold, "expected_false": self.expected_false, "memory": memory}

    @property
    def for_duplicates(self) -> dict[str, str]:
        given = "expected_false" if self.threshold is None else "threshold"
        compared = {"compared": self.compared} if self.compared else {}
        return {"version": DUPLICATES_VERSION, given: repr(getattr(self, given))} | compared | self.for_all


# Every table of the search asks for them, which would read the stored tables and list the shards again.
@functools.lru_cache(maxsize=1)
def settings(reader: Reader) -> Settings:
    found = replace(_of_views(reader), **_of_duplicates(reader))
    if reader.image_rows.layout.images < LEAST_PAIRED:
        return found
    found = replace(found, compared=FAISS)
    # Where it is not installed, what it has found before stays.
    is_kept = has_faiss() or reader.kept_settings("duplicates") == found.for_duplicates
    return found if is_kept else replace(found, compared=FIRST)


def _of_duplicates(reader: Reader) -> dict[str, Any]:
    chosen, stored = reader.choice(Choices), reader.kept_settings("duplicates")
    given = {"threshold": chosen.threshold, "expected_false": chosen.expected_false}
    numbers = {name: value for name, value in given.items() if value is not None}
    if len(numbers) > 1:
        raise UsageError("`threshold` and `expected_false` both say from which cosine: give one of them")
    for name, (low, high) in {"threshold": (-1, 1), "expected_false": (1e-9, 1e9), "memory": (0.001, 1e6)}.items():
        value = getattr(chosen, name)
        if value is not None and not low <= value <= high:
            raise UsageError(f"`{name}` {value:g}: give a number between {low:g} and {high:g}")
    return numbers or {name: float(stored[name]) for name in given if name in stored}


def _of_views(reader: Reader) -> Settings:
    chosen = reader.choice(Choices)
    stored = [reader.kept_settings(name) for name in SEARCHED]
    previous = next((labels for labels in stored if labels.get("version") == VERSION), {})
    queries = parse_queries(str(previous.get("queries", QUERIES) if chosen.queries is None else chosen.queries))
    rate, kept = chosen.false_match_rate, reader.kept_settings("thresholds").get("false_match_rate")
    rates = parse_rates(kept.split(",") if rate is None and kept is not None else rate or FALSE_MATCH_RATES)
    groups = reader.info.groups_digest
    if chosen.gallery is not None:
        return Settings(queries, rates, gallery_label(str(chosen.gallery)), groups=groups)
    # An earlier version also searched tiles, under a setting `layout`.
    wanted = {"queries": str(queries or ALL), "groups": groups, "layout": ""}
    is_same = wanted == {"groups": "", "layout": ""} | {name: previous[name] for name in wanted if name in previous}
    if is_same and all(labels == previous for labels in stored):
        return Settings(queries, rates, previous["gallery"], groups=groups)
    # The search is repeated, and its tables do not hold the path of the gallery.
    return Settings(queries, rates, gallery_is_lost=any(labels.get("gallery") for labels in stored), groups=groups)


def parse_queries(text: str) -> int | None:
    if text == ALL:
        return None
    if not text.isdecimal() or len(text) > 12 or int(text) < 1:
        raise UsageError(f"`queries`: give a number of at least 1, or all; not {text!r:.40}")
    return int(text)


def parse_rates(given: float | str | Sequence[float | str]) -> tuple[float, ...]:
    texts = given.split(",") if isinstance(given, str) else [given] if isinstance(given, int | float) else given
    try:
        rates = [float(text) for text in texts if text != ""]
    except (TypeError, ValueError) as error:
        raise UsageError(f"`false_match_rate`: {error}; give numbers between 0 and 1, with commas") from error
    if wrong := [rate for rate in rates if not LEAST_RATE <= rate < 1]:
        raise UsageError(f"`false_match_rate`: {wrong[0]:g} is not a rate between {LEAST_RATE:g} and 1")
    return tuple(sorted(set(rates), reverse=True))


def gallery_label(path: str) -> str:
    if not path:
        return ""
    if address := address_of(path):
        name = address.rpartition("/")[2].rpartition("table=")[2]
        return f"{name}|{hashlib.sha256(f'{address} {state_of(address)}'.encode()).hexdigest()}"
    file = expanded(path)
    if (file / "shards").is_dir():
        return f"{file.resolve().name}|{Reader(file).measured_checksum()}"
    try:
        stat = os.stat(file)
    except OSError as error:
        raise UsageError(f"`gallery`: {path}: {error.strerror}") from error
    return f"{file.name}|{hashlib.sha256(f'{stat.st_size} {stat.st_mtime_ns}'.encode()).hexdigest()}"
