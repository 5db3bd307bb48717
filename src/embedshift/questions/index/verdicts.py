"""What the table `index` says of each index, as the command line and the report show it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from embedshift.questions.index.experiment import MRR
from embedshift.questions.index.tables import ALL, MARGIN, finds_too_little
from embedshift.report.numbers import MISSING, about, count, fixed, with_ends
from embedshift.statistics.agreement import NEIGHBOURS_KEPT
from embedshift.statistics.equivalence import RECALL
from embedshift.statistics.index_parts import FLOAT32
from embedshift.statistics.judged import BEYOND, UNDECIDED, WITHIN, WORSE
from embedshift.statistics.power import in_points
from embedshift.store.embeddings import images_tried
from embedshift.store.reader import Reader
from embedshift.study.result import Grid, Kind

HEADINGS = (
    "index", "bytes searched", "bytes stored", "recall@1", "lost, worst change", "under", "matched", "neighbours",
    "outcome",
)  # fmt: skip
# A loss below this is printed as none.
NOTHING = 5e-5
# The outcome over all changes is the worst of them.
WORST_FIRST = (BEYOND, WORSE, UNDECIDED, WITHIN)


@dataclass(frozen=True)
class IndexVerdict:
    """One index beside float32, under the change that loses most.

    Args:
        name: Its parts.
        searched: Bytes of a vector that a search reads.
        stored: Bytes of a vector that are kept.
        recall: recall@1 over all changes, with the ends of its 95 % interval.
        gain: Its difference from float32, with the ends of its 95 % interval.
        lost: The largest loss of recall@1, under the change `worst`.
        worst: The change that loses most.
        outcome: The worst outcome of any change: within, worse, beyond or undecided; "" for float32.
        needed: Change → about how many images, or groups, would decide as a recommendation does; None = no number.
        others: Means of other metrics over all changes.
        recommended: Whether it is recommended.
    """

    name: str
    searched: float
    stored: float
    recall: tuple[float, float, float]
    gain: tuple[float, float, float]
    lost: float
    worst: str
    outcome: str
    needed: Mapping[str, int | None]
    others: Mapping[str, float | None]
    recommended: bool

    @property
    def images_needed(self) -> int | None:
        """About how many images would decide every change; None = all are decided, or no number would."""
        return None if None in self.needed.values() else max((n for n in self.needed.values() if n), default=None)


def verdicts(table: pl.DataFrame) -> list[IndexVerdict]:
    """Returns a verdict on each index, in the order of the table, which begins with float32."""
    found = []
    for (name,), rows in table.group_by("index", maintain_order=True):
        whole = rows.filter(augmentation=ALL).rows_by_key("metric", named=True, unique=True)
        changes = rows.filter(pl.col("augmentation") != ALL, metric=RECALL).drop_nulls("value")
        if changes.is_empty():
            continue
        worst = changes.sort("difference", maintain_order=True).row(0, named=True)
        outcomes = set(changes["outcome"].drop_nulls())
        undecided = changes.filter(pl.col("outcome").is_in([UNDECIDED, WORSE]))
        recall = whole[RECALL]
        found.append(
            IndexVerdict(
                str(name),
                worst["bytes_searched"],
                worst["bytes_stored"],
                (recall["value"], recall["ci_low"], recall["ci_high"]),
                (recall["difference"], recall["difference_low"], recall["difference_high"]),
                max(0.0, -worst["difference"]) + 0.0,
                worst["augmentation"],
                next((outcome for outcome in WORST_FIRST if outcome in outcomes), ""),
                dict(undecided.select("augmentation", "needed").iter_rows()),
                {metric: row["value"] for metric, row in whole.items() if metric not in (RECALL, MRR)},
                bool(worst["recommended"]),
            )
        )
    return found


@dataclass(frozen=True)
class IndexAnswer:
    """What is said of a study's indexes.

    Args:
        verdicts: One of each index.
        gallery: Number of vectors in a search.
        images: Number of images, or groups, that are judged.
        unit: What is counted: image or group.
        margin: How much of recall@1 may be lost.
        all_originals: recall@1 among all originals, as `search` has it; None = no search was made.
    """

    verdicts: Sequence[IndexVerdict]
    gallery: int
    images: int
    unit: str
    margin: float
    all_originals: float | None = None

    @property
    def margin_in_words(self) -> str:
        return in_points(self.margin)

    @property
    def recommended(self) -> IndexVerdict | None:
        return next((each for each in self.verdicts if each.recommended), None)

    @property
    def finds_most(self) -> IndexVerdict:
        return max(self.verdicts, key=lambda each: each.recall[0])

    def sentences(self) -> Iterator[str]:
        """Yields what is recommended, what finds most, and what was searched."""
        if not self.verdicts:
            yield f"No index was tried: it takes four {self.unit}s."
            return
        yield self._recommendation()
        most, best = self.finds_most, self.recommended
        if most.name not in (FLOAT32, best.name if best else ""):
            yield f"Finds most: {most.name}, {_gain(most)}."
        judged, found = count(self.images, self.unit), ""
        if self.all_originals is not None:
            found = f" Among all originals `search` finds {fixed(self.all_originals, 3)} as they are."
        yield f"Searched: {count(self.gallery, 'vector')} that no index was fitted to, by views of {judged}.{found}"

    def _recommendation(self) -> str:
        base, others = self.verdicts[0], [each for each in self.verdicts if each.name != FLOAT32]
        points, best = self.margin_in_words, self.recommended
        if best is not None:
            size = f"{best.searched:,.0f} bytes an image to search in place of {base.searched:,.0f}"
            return f"Recommended: {best.name}, {size}: within {points} under every change; {_gain(best)}."
        if finds_too_little(base.recall[1], self.margin, self.gallery):
            return f"Nothing is recommended: float32 finds {fixed(base.recall[0], 3)}, so that no loss could show."
        needed = [n for each in others if each.lost <= self.margin and (n := each.images_needed)]
        more = f"; about {about(min(needed))} {self.unit}s may show one" if needed else ""
        return f"No index is shown to be within {points} under every change. Keep float32{more}."


def answer_of(reader: Reader, table: pl.DataFrame) -> IndexAnswer:
    """Returns the answer of a study: its verdicts, and the numbers that the sentences quote."""
    margin = float(reader.kept_settings("index").get("margin", MARGIN))
    count_of, groups = images_tried(reader), reader.first_groups(images_tried(reader))
    images, unit = (count_of, "image") if groups is None else (len(np.unique(groups)), "group")
    search = None if reader.table("search") is None else reader.need("search").filter(metric=RECALL)["value"].mean()
    gallery = 0 if table.is_empty() else int(table["gallery"][0])
    return IndexAnswer(verdicts(table), gallery, images, unit, margin, None if search is None else float(str(search)))


def _gain(verdict: IndexVerdict) -> str:
    value, low, high = (100 * number for number in verdict.gain)
    return f"recall@1 {fixed(verdict.recall[0], 3)}, {with_ends(value, low, high, 1, signed=True)} points"


def grid(answer: IndexAnswer) -> Grid:
    """Returns the indexes as the command line and the report list them, a row each."""
    title = f"recall@1 among {answer.gallery:,} over all changes; points lost under the worst change"
    kinds: Sequence[Kind] = ("name", "number", "number", "number", "number", "name", "number", "number", "outcome")
    return Grid(
        HEADINGS, kinds, [_cells(each) for each in answer.verdicts], title, spare=("neighbours", "bytes stored")
    )


def _cells(verdict: IndexVerdict) -> tuple[str, ...]:
    is_base, matched = verdict.name == FLOAT32, [name for name in verdict.others if name.startswith("matched@")]
    return (
        verdict.name + (" *" if verdict.recommended else ""),
        f"{verdict.searched:,.0f}",
        f"{verdict.stored:,.0f}",
        fixed(verdict.recall[0], 3),
        MISSING if is_base else fixed(100 * verdict.lost, 1),
        verdict.worst if verdict.lost >= NOTHING else MISSING,
        fixed(verdict.others[matched[0]] if matched else None, 3),
        fixed(verdict.others.get(NEIGHBOURS_KEPT), 3),
        verdict.outcome or MISSING,
    )
