"""What the table `codes` says of each code, as the command line and the report have it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from embedshift.report.numbers import MISSING, about, count, fixed
from embedshift.statistics.coded_search import PER_RESULT, RECALLS
from embedshift.statistics.codes import FLOAT32, RESCORE
from embedshift.statistics.equivalence import RECALL
from embedshift.statistics.judged import EQUIVALENT, NOT_EQUIVALENT, NOT_WORSE
from embedshift.statistics.power import in_points
from embedshift.store.embeddings import images_read
from embedshift.store.reader import Reader

HEADINGS = (
    "code", "bytes searched", "bytes stored", "recall@1", "lost, worst change", "under", "matched", "neighbours",
    "outside",
)  # fmt: skip
ALL = "all"
INDEXES = ("hnsw", "ivf")
# Points below this are printed as none; and the part of the gallery that candidates may be where a code is recommended.
NOTHING, MOST_CANDIDATES = 5e-5, 0.05


@dataclass(frozen=True)
class CodeVerdict:
    """One code beside float32, under the change that loses most: differences in recall@1.

    Args:
        code: Its name.
        searched: Bytes of a vector that a search reads.
        stored: Bytes of a vector that are kept.
        gallery: Number of vectors that are searched.
        recall: recall@1 over all changes.
        lost: The largest loss, in the change `worst`.
        at_worst: The largest loss that the one-sided 95 % intervals leave open, of any change.
        is_within: Whether it is within the margin under all changes.
        is_beyond: Whether it loses more under some change.
        needed: Change → about how many images, or groups, would decide; of those that are undecided.
        others: Means of other metrics over all changes, by name; and `outside`.
    """

    code: str
    searched: float
    stored: float
    gallery: int
    recall: float
    lost: float
    worst: str
    at_worst: float
    is_within: bool
    is_beyond: bool
    needed: Mapping[str, int | None]
    others: Mapping[str, float | None]

    @property
    def is_easy(self) -> bool:
        """Whether its candidates are so large a part of the gallery that it can hardly lose."""
        return self.code.endswith(RESCORE) and PER_RESULT * max(RECALLS) > MOST_CANDIDATES * self.gallery

    def images_needed(self, margin: float) -> int | None:
        """Returns how many images would decide: under the worst change if it loses more, else under all."""
        if self.lost > margin:
            return self.needed.get(self.worst)
        return None if None in self.needed.values() else max((n for n in self.needed.values() if n), default=None)

    def sentence(self, judged: str, unit: str, margin: float) -> str:
        """Returns what may be said of it, true to the intervals."""
        points, limit = in_points(margin), f"{100 * self.at_worst:.1f}"
        loss = f"loses {100 * self.lost:.1f} points under {self.worst}"
        if self.lost < NOTHING:
            loss = f"no loss seen in {judged} (0.0 points, at worst {limit})"
        elif not self.is_beyond:
            loss += f" (at worst {limit})"
        easy = " Its candidates are a large part of this gallery: more vectors would lose more." if self.is_easy else ""
        if self.is_within:
            return f"{self.code}: {loss}, within {points} under every change.{easy}"
        if self.is_beyond:
            return f"{self.code}: {loss} in {judged}, more than {points}.{easy}"
        needed = self.images_needed(margin)
        more = f"about {about(needed)} {unit}s" if needed else f"more {unit}s"
        if self.lost > margin:
            return f"{self.code}: {loss}, more than {points}; {more} would confirm that.{easy}"
        return f"{self.code}: {loss}; a margin of {points} needs {more}.{easy}"


def verdicts(table: pl.DataFrame) -> list[CodeVerdict]:
    """Returns a verdict for each code, in the order of the table: float32 first, which loses nothing."""
    found = []
    for (name,), rows in table.group_by("code", maintain_order=True):
        whole, changes = rows.filter(augmentation=ALL), rows.filter(pl.col("augmentation") != ALL, metric=RECALL)
        changes = changes.drop_nulls("outcome")
        if changes.is_empty():
            continue
        worst = changes.sort("difference", maintain_order=True).row(0, named=True)
        outcomes = changes["outcome"].to_list()
        undecided = changes.filter(~pl.col("outcome").is_in([EQUIVALENT, NOT_WORSE, NOT_EQUIVALENT]))
        metrics = dict(whole.select("metric", "value").iter_rows())
        least = changes["least"].drop_nulls().min()
        verdict = CodeVerdict(
            code=str(name),
            searched=worst["bytes_searched"],
            stored=worst["bytes_stored"],
            gallery=worst["gallery"],
            recall=metrics[RECALL],
            lost=max(0.0, -worst["difference"]) + 0.0,
            worst=worst["augmentation"],
            at_worst=1.0 if least is None else max(0.0, -float(str(least))),
            is_within=set(outcomes) <= {EQUIVALENT, NOT_WORSE},
            is_beyond=NOT_EQUIVALENT in outcomes,
            needed=dict(undecided.select("augmentation", "needed").iter_rows()),
            others=metrics | {"outside": whole["outside"][0]},
        )
        found.append(verdict)
    return found


def recommended(found: Sequence[CodeVerdict]) -> CodeVerdict | None:
    """Returns the code of the fewest bytes searched that is within the margin under every change.

    Indexes are not compared, and no code whose candidates are a large part of the gallery.
    """
    coded = (each for each in found if each.code != FLOAT32 and not each.code.startswith(INDEXES))
    within = [each for each in coded if each.is_within and not each.is_easy]
    return min(within, key=lambda each: (each.searched, each.stored), default=None)


def summary(found: Sequence[CodeVerdict], reader: Reader, margin: float) -> Iterator[str]:
    """Yields the recommendation, then a sentence for each code, those of the fewest bytes first."""
    best, among = recommended(found), f"in a search among {found[0].gallery:,}" if found else ""
    others = [each for each in found if each.code != FLOAT32]
    groups, unit = reader.first_groups(images_read(reader)), "group" if reader.info.groups else "image"
    read = images_read(reader) if groups is None else len(np.unique(groups))
    judged = count(read, unit, reader.info.group_count)
    if not others:
        return
    if best is None:
        needed = [
            n for each in others if each.lost <= margin and (n := each.images_needed(margin)) and not each.is_easy
        ]
        more = f" About {about(min(needed))} {unit}s may show one." if needed else ""
        yield f"No code is within {in_points(margin)} under every change, {among}.{more}"
    else:
        size = f"{best.searched:,.0f} bytes a vector to search, {best.stored:,.0f} to store"
        yield f"Recommended {among}: {best.code}, {size}. Larger galleries lose more: add vectors of yours."
    if found[0].code == FLOAT32 and found[0].recall == 1:
        yield "float32 finds all: this gallery is too small to tell codes apart."
    for each in sorted(others, key=lambda each: (each.searched, each.stored)):
        yield each.sentence(judged, unit, margin)


def cells(verdict: CodeVerdict) -> tuple[str, ...]:
    """Returns a row below `HEADINGS`."""
    outside, is_base = verdict.others["outside"], verdict.code == FLOAT32
    return (
        verdict.code,
        f"{verdict.searched:,.0f}",
        f"{verdict.stored:,.0f}",
        fixed(verdict.recall, 3),
        MISSING if is_base else f"{100 * verdict.lost:.1f} ({100 * verdict.at_worst:.1f})",
        verdict.worst if verdict.lost >= NOTHING else MISSING,
        fixed(verdict.others.get("matched@0.001"), 3),
        fixed(verdict.others.get("neighbours@10"), 3),
        MISSING if outside is None else f"{100 * outside:.2f} %",
    )


def margin_of(settings: Mapping[str, Any]) -> float:
    return float(settings.get("margin", 0.01))
