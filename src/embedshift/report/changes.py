"""What happened to the images, a row a change: what a search misses under it, and how far the embedding moves."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from embedshift.augmentations.family import FAMILIES
from embedshift.config import Json
from embedshift.report.numbers import count, fixed, in_percent, listed, shorten, with_interval
from embedshift.statistics.duplicates import images_in
from embedshift.statistics.intervals import LEAST_IMAGES
from embedshift.statistics.strengths import MeasuredFamily, by_family, in_words
from embedshift.statistics.summary import COSINE, ROUNDING, ordered
from embedshift.store.reader import Reader

# A description is shown up to the first of these; of more words than six, up to the last of those that join words.
_END, WORDS = re.compile(r"[:;,.(](?:\s|$)|\s\("), 6
_JOINED = re.compile(r"(.+)\s(?:of|to|by|in|at|and|or|with|within|as|on|over|than|from|around|along|that|x)\b.*")
# Characters of a name in a sentence, and the names in it.
NAMED, NAMES = 60, 3
Ends = tuple[float | None, float | None]


@dataclass(frozen=True)
class ChangeRow:
    """An augmentation, or a family with the numbers of the level that a search misses most.

    Args:
        name: Of the augmentation, or of the family.
        words: What it does, in few words.
        views: Its augmentations, the weakest first.
        view: The augmentation whose numbers these are.
        strength: Of that view in words; "" = it has none.
        n: Number of queries; 0 = there is no search.
        missed: How many queries do not find their original first.
        missed_ends: The interval of the fraction that is missed.
        shift: The relative shift.
        shift_ends: Its interval.
        cosine: The mean cosine similarity.
        tolerance: Of a family: the strength at which the tolerance is reached, and the level there; None = it is not.
    """

    name: str
    words: str
    views: tuple[str, ...]
    view: str
    strength: str
    n: int
    missed: int
    missed_ends: Ends
    shift: float | None
    shift_ends: Ends
    cosine: float | None
    tolerance: tuple[str, float] | None = None

    @property
    def fraction(self) -> float:
        """The fraction of queries that is missed."""
        return self.missed / self.n if self.n else 0.0

    @property
    def counted(self) -> str:
        """How many queries are missed: "9 of 159"; "" = there is no search."""
        return f"{self.missed:,} of {self.n:,}" if self.n else ""

    @property
    def in_words(self) -> str:
        """The change, and its strength where it has one: "jpeg at quality 10"."""
        return shorten(self.name, NAMED) + (f" at {self.strength}" if self.strength else "")

    @property
    def order(self) -> tuple[float, float, float]:
        """What is missed, then how far the embedding moves."""
        return self.fraction, self.shift or 0.0, -(1.0 if self.cosine is None else self.cosine)


def changes_of(reader: Reader, *, in_families: bool = True) -> list[ChangeRow]:
    """Returns the changes of a study: those that a search misses most first, then those that move furthest.

    Args:
        reader: A study with tables.
        in_families: Whether the levels of a family are one change.
    """
    cosines = _rows(reader.need("summary").filter(metric=COSINE))
    in_family = {view: family for family in reader.families if in_families for view in family.views}
    # Among fewer than two images every search finds the original.
    search = reader.table("search") if reader.info.counts.measured > 1 else None
    found = {} if search is None else _rows(search.filter(metric="recall@1").drop_nulls("value"))
    tolerances, described = by_family(reader.table("tolerance")), reader.info.descriptions
    # What is said of several alike, such as that another program made them, tells none from the others.
    described = described if len(reader.augmentations) == 1 or len({*described.values()}) > 1 else {}
    by_name: dict[str, list[ChangeRow]] = {}
    for view in reader.augmentations:
        change = _of_view(view, few_words(described.get(view, ""), view), cosines.get(view, {}), found.get(view))
        by_name.setdefault(in_family[view].name if view in in_family else view, []).append(change)
    changes: list[ChangeRow] = []
    for name, levels in by_name.items():
        worst, family = max(levels, key=lambda change: change.order), in_family.get(levels[0].view)
        changes.append(worst if family is None else _of_family(family, worst, tolerances.get(name)))
    return sorted(changes, key=lambda change: change.order, reverse=True)


def _rows(table: Any) -> dict[str, Json]:
    return {row["augmentation"]: row for row in table.iter_rows(named=True)}


def _of_view(view: str, words: str, cosine: Json, found: Json | None) -> ChangeRow:
    low, high = (None, None) if found is None else (found["ci_low"], found["ci_high"])
    n = 0 if found is None else found["n"]
    return ChangeRow(
        name=view,
        words=words,
        views=(view,),
        view=view,
        strength="",
        n=n,
        missed=0 if found is None else round((1 - found["value"]) * n),
        missed_ends=(None, None) if low is None or high is None else (1 - high, 1 - low),
        shift=cosine.get("relative_shift"),
        shift_ends=(cosine.get("relative_shift_low"), cosine.get("relative_shift_high")),
        cosine=cosine.get("mean"),
    )


def _of_family(family: MeasuredFamily, worst: ChangeRow, tolerance: Json | None) -> ChangeRow:
    level = family.views.index(worst.view)
    reached = tolerance["value"] if tolerance and tolerance["reached"] else None
    return replace(
        worst,
        name=family.name,
        words=few_words(FAMILIES[family.name].what_it_does, family.name) if family.name in FAMILIES else "",
        views=family.views,
        strength=in_words(family.parameters[level], family.unit) if family.has_strength else "",
        tolerance=None if reached is None else (in_words(reached, family.unit), float(family.levels_at(reached))),
    )


def few_words(description: str, name: str = "") -> str:
    """Returns the beginning of a description, after what only repeats the name.

    Example:
        >>> few_words("Printed and scanned: corners moved in by 0 to 2 % of the side, gamma .8 to 1.25")
        'Printed and scanned'
        >>> few_words("A screenshot: the image inside borders of 5 to 12 %", "screenshot")
        'the image inside borders'
    """
    first, *others = _END.split(description, maxsplit=2)
    is_name = first.lower().removeprefix("a ") == name.lower().replace("_", " ")
    words = (others[0] if is_name and others else first).split()
    return " ".join(words) if len(words) <= WORDS else _JOINED.sub(r"\1", " ".join(words[:WORDS]))


def finding(reader: Reader, changes: Sequence[ChangeRow]) -> str:
    """Returns what was found, in one sentence: what a search misses most, or how far the embedding moves."""
    images = count(reader.info.counts.measured, "image")
    if not changes:
        return _duplicates(reader, images)
    searched = [change for change in changes if change.n]
    if not searched:
        return _furthest(reader, changes)
    worst, queries = searched[0], max(change.n for change in searched)
    n = worst.n if worst.missed else queries
    among = images if n == reader.info.counts.measured else f"{count(n, 'view')} of {images}"
    search = "a search in the gallery" if reader.kept_settings("search_ranks").get("gallery") else "a search"
    if worst.missed:
        tied = [change.in_words for change in searched if change.fraction == worst.fraction]
        number = "all" if worst.missed == worst.n else f"{worst.missed:,}"
        most = f", the worst of {len(searched)} changes" if len(tied) == 1 < len(searched) else ""
        return f"Of {among}, {search} misses {number} under {listed(tied, NAMES)}{most}."
    where = f"any of {len(searched)} changes" if len(searched) > 1 else worst.in_words
    ends = [change.missed_ends[1] for change in searched if change.missed_ends[1] is not None]
    more = f"too few to rule out {in_percent(max(ends))[0]}" if len(ends) == len(searched) else "too few to be sure"
    return f"Of {among}, {search} misses none under {where}; {more}."


def _furthest(reader: Reader, changes: Sequence[ChangeRow]) -> str:
    """Names what moves the embedding furthest, and what moves it no less by a significant difference."""
    worst = changes[0]
    if worst.cosine is None:
        return "No cosine similarity can be computed: all embeddings are zero or not finite."
    if worst.cosine > 1.0 - ROUNDING:
        return f"No change moves the embedding of {count(reader.info.counts.measured, 'image')}."
    far = f"{with_interval(worst.shift, *worst.shift_ends)[0]} of the way to another image"
    if worst.shift is None:
        far = f"to a cosine similarity of {fixed(worst.cosine, 3)}"
    names = [change.view for change in changes]
    table = reader.table("differences") if reader.info.group_count >= LEAST_IMAGES and len(names) > 1 else None
    tied = names[:1] if table is None else ordered(table, COSINE, names).most
    shown = [change.in_words for change in changes if change.view in tied]
    furthest = " furthest" if len(changes) > 1 else ""
    if len(shown) == len(changes) > 1:
        return f"All {len(changes)} changes move the embedding about as far: {far}."
    return f"Under {listed(shown, NAMES)} the embedding moves{furthest}: {far}."


def _duplicates(reader: Reader, images: str) -> str:
    pairs = reader.table("duplicates")
    if pairs is None:
        return f"{images} without a change: nothing is compared."
    alike = images_in(pairs)
    return f"Of {images}, {alike:,} are likely duplicates." if alike else f"No two of {images} are likely duplicates."
