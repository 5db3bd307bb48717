"""The result of a comparison of two stacks: the distance of their vectors, the steps that explain it, and `Parity`."""

import xml.etree.ElementTree as ET
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from embedshift.arrays import Values
from embedshift.config import Json
from embedshift.errors import EmbedshiftError
from embedshift.report.numbers import count
from embedshift.statistics.agreement import NEIGHBOURS, linear_cka
from embedshift.statistics.retrieval import Gallery, search
from embedshift.statistics.vectors import normalised
from embedshift.study.shown import Shown, escaped, markdown_table, printable

# Maximum mean of 1 − cosine, and maximum difference of two cosines, due to rounding in float32.
ROUNDING, TIE = 1e-10, 1e-6
COLUMNS: dict[str, Any] = {"distance_before": pl.Float64, "distance_after": pl.Float64, "explained": pl.Float64}
# Minimum CKA of vectors that are turned, scaled or moved copies, although their cosines differ.
TURNED = 0.999


@dataclass(frozen=True, eq=False)
class Distance:
    """Distance of two stacks; vectors of different `lengths` have no `distances` (1 − cosine of each image).

    `search`: queries in an index, and the fraction of the reference's own neighbours that they find. `margins`: by how
    much the nearest other image leads in the reference; `changed`: images with another one, where that is no tie.
    """

    lengths: tuple[int, int]
    norms: tuple[Values, Values]
    cka: float
    distances: Values
    mean: float = np.nan
    relative_shift: float = np.nan
    search: tuple[Json, ...] = ()
    margins: Values | None = None
    changed: tuple[int, ...] = ()


def distance_between(reference: ArrayLike, served: ArrayLike) -> Distance:
    stacks = {"reference": np.asarray(reference, np.float64), "served": np.asarray(served, np.float64)}
    (first, second), count = stacks.values(), len(stacks["reference"])
    if count < 2:
        raise EmbedshiftError("one image has no other image to compare with: give two or more")
    # Half the squared distance of unit vectors is 1 − cosine, exact near 0.
    others = (count**2 - np.square(normalised(first).sum(axis=0)).sum()) / (count * (count - 1))
    if others < ROUNDING:
        raise EmbedshiftError("the reference gives all images one vector, so that there is no scale: give other images")
    lengths, norms = (first.shape[1], second.shape[1]), (np.linalg.norm(first, axis=1), np.linalg.norm(second, axis=1))
    cka = linear_cka(first, second)[0]
    if lengths[0] != lengths[1]:
        return Distance(lengths, norms, cka, np.zeros(0))
    distances = np.square(normalised(first) - normalised(second)).sum(axis=1) / 2
    kept = min(NEIGHBOURS, max(1, (count - 1) // 2))
    pairs = [("reference", "reference"), ("served", "served"), ("served", "reference"), ("reference", "served")]
    ranked = [
        search(stacks[query], np.arange(count), Gallery.of(stacks[index]), count=max(2, kept)) for query, index in pairs
    ]
    near = [ranking.positions[:, :kept] for ranking in ranked]
    rows = tuple(
        {
            "queries": query, "index": index, "recall@1": float((ranking.rank == 1).mean()),
            "neighbours": float((positions[:, :, None] == near[0][:, None]).any(axis=2).mean()),
        }
        for (query, index), ranking, positions in zip(pairs, ranked, near, strict=True)
    )  # fmt: skip
    margins = ranked[0].others[:, 0] - (ranked[0].others[:, 1] if count > 2 else -np.inf)
    moved = np.any([positions[:, 0] != near[0][:, 0] for positions in near], axis=0) & (margins > TIE)
    mean, changed = float(distances.mean()), tuple(map(int, np.flatnonzero(moved)))
    return Distance(lengths, norms, cka, distances, mean, mean / others, rows, margins, changed)


@dataclass(frozen=True)
class ParityStep:
    """An alteration of the reference's steps that brings its vectors nearer to the served ones.

    `alteration` names it in words ("without antialiasing"); `ties` are the alterations that give the same vectors on
    these images; `change` is what undoes it. Distances are means of 1 − cosine in float64; `explained` is the fraction
    of the first distance.
    """

    alteration: str
    change: str
    distance_before: float
    distance_after: float
    explained: float
    ties: tuple[str, ...] = ()


@dataclass(frozen=True)
class Causes:
    """The named steps; the unexplained mean of 1 − cosine; the measured floor of rounding; a remark."""

    steps: tuple[ParityStep, ...]
    distance: float
    unexplained: float
    floor: float
    note: str = ""


@dataclass(frozen=True, eq=False, repr=False)
class Parity(Shown):
    """The difference between a served stack and a reference, and its causes.

    `causes` are alterations of the reference, or `backwards` of the served stack; None = not looked for. A reference
    that is `locked` also keeps the nearest neighbours. `notes` say what could not be done.
    """

    reference: str
    served: str
    images: tuple[str, ...]
    distance: Distance
    tolerance: float
    causes: Causes | None = None
    backwards: bool = False
    locked: bool = False
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the relative shift is within the tolerance and, with a lock, no nearest neighbour changes."""
        return bool(self.distance.relative_shift <= self.tolerance) and not (self.locked and self.distance.changed)

    @property
    def verdict(self) -> str:
        words = f"{self.served} {'passes' if self.passed else 'does not pass'}: relative shift "
        words += f"{self.distance.relative_shift:.2g}, tolerance {self.tolerance:g}, {count(len(self.images), 'image')}"
        changed = [self.images[position] for position in self.distance.changed if self.locked]
        return words + (f"; {len(changed)} with another nearest image (first: {changed[0]})" if changed else "")

    @property
    def sentence(self) -> str:
        """The cause in words, and the unexplained rest; also a missing normalisation, which no cosine shows."""
        remark = self.causes.note if self.causes else ""
        sentences = [self._cause(), f"{remark[:1].upper()}{remark[1:]}." if remark else "", *self.notes]
        (first, second), names = self.distance.norms, (self.reference, self.served)
        is_unit = [bool((abs(norms - 1) < 1e-3).all()) for norms in (first, second)]
        if is_unit[0] != is_unit[1]:
            mean = self.distance.norms[is_unit[0]].mean()
            words = f"{names[is_unit[1]]} normalises its vectors, {names[is_unit[0]]} does not (mean norm {mean:.4g})."
            sentences.insert(1, words)
        elif not 0.5 < (ratio := second.mean() / first.mean()) < 2:
            sentences.insert(1, f"The norms of {self.served} are {ratio:.4g} times those of {self.reference}.")
        return " ".join(filter(None, sentences))

    @property
    def changes(self) -> list[str]:
        steps = () if self.causes is None else self.causes.steps
        return [f"change in {self.reference if self.backwards else self.served}: {step.change}" for step in steps]

    def _cause(self) -> str:
        distance, causes, cka = self.distance, self.causes, f"CKA {self.distance.cka:.3f}"
        if causes is not None and causes.steps:
            first, other = (self.reference, self.served) if self.backwards else (self.served, self.reference)
            explained = np.floor(1e4 * (1 - causes.unexplained / causes.distance)) / 100
            rest = f"a mean 1 − cosine of {causes.unexplained:.2g} is unexplained"
            rest = "rounding is left" if causes.unexplained <= causes.floor else rest
            names = " and ".join(self.table()["alteration"])
            return f"{first} is {other} {names}: that explains {explained:g} % of the distance; {rest}."
        if not distance.distances.size:
            lengths = f"{distance.lengths[1]} numbers, {self.reference} {distance.lengths[0]}"
            return f"{self.served} gives {lengths}: vectors of another model or output, without a cosine ({cka})."
        if distance.mean <= ROUNDING:
            return f"{self.served} gives the vectors of {self.reference}; rounding is left."
        if distance.relative_shift > 1:
            turned = f"the vectors of {self.reference} turned, scaled or moved"
            words = turned if distance.cka > TURNED else "vectors of another model, or of other weights"
            return f"{self.served} gives {words}: as far from {self.reference} as other images are ({cka})."
        words = f"{self.served} differs from {self.reference} by a mean 1 − cosine of {distance.mean:.2g}"
        return words + (", which no known alteration explains." if causes is not None else ".")

    def table(self) -> pl.DataFrame:
        """The steps that explain the distance: `step, alteration, distance_before, distance_after, explained`."""
        steps = () if self.causes is None else self.causes.steps
        columns: Json = {"step": range(1, len(steps) + 1)}
        columns["alteration"] = [" or ".join((step.alteration, *step.ties)) for step in steps]
        columns |= {name: [getattr(step, name) for step in steps] for name in COLUMNS}
        return pl.DataFrame(columns, schema={"step": pl.Int64, "alteration": pl.String} | COLUMNS)

    def figure(self) -> Any:
        """Draws the distance after each step on a log axis, as a figure of matplotlib."""
        from embedshift.figures.style import new_figure, wrap

        rows, floor = self.table(), self.causes.floor if self.causes else ROUNDING
        drawn = new_figure(
            f"{count(len(self.images), 'image')}; dotted: rounding", 6, 3, f"{self.served} and {self.reference}"
        )
        axes, places = drawn.subplots(), range(len(rows) + 1)
        axes.plot(np.maximum([self.distance.mean, *rows["distance_after"]], floor / 100), places, marker="o")
        labels = ["as served", *(wrap(name, 2.5) for name in rows["alteration"])]
        axes.set(xscale="log", xlabel="mean 1 − cosine", yticks=places, yticklabels=labels)
        axes.invert_yaxis()
        axes.axvline(floor, linestyle=":", color="0.5")
        return drawn

    def to_json(self) -> Json:
        """Returns all numbers as JSON; None for a missing one."""
        distance, order = self.distance, np.argsort(-self.distance.distances, kind="stable")
        numbers = {"mean": distance.mean, "relative_shift": distance.relative_shift, "cka": distance.cka}
        numbers["largest"] = distance.distances[order[0]] if order.size else np.nan
        numbers |= {name: getattr(self.causes, name, np.nan) for name in ("unexplained", "floor")}
        return {
            "reference": self.reference, "served": self.served, "passed": self.passed, "tolerance": self.tolerance,
            "verdict": self.verdict, "sentence": self.sentence, "images": len(self.images),
            **{name: float(value) if np.isfinite(value) else None for name, value in numbers.items()},
            "farthest": [self.images[position] for position in order[:3]],
            "changed": [self.images[position] for position in distance.changed],
            "lengths": distance.lengths, "norms": [float(norms.mean()) for norms in distance.norms],
            "search": distance.search, "parity": self.table().to_dicts(), "changes": self.changes,
        }  # fmt: skip

    def to_markdown(self) -> str:
        rows = [[escaped(cell) for cell in row] for row in self._table().rows()]
        parts = [f"### {escaped(self.verdict)}", escaped(self.sentence), markdown_table(self.table().columns, rows)]
        return "\n\n".join([*parts[: 3 if rows else 2], *map(escaped, self.changes)]) + "\n"

    def to_junit(self) -> str:
        suite = ET.Element("testsuite", name="embedshift parity", tests="1", failures=str(int(not self.passed)))
        name = printable(f"{self.served} gives the vectors of {self.reference}")
        case = ET.SubElement(suite, "testcase", classname="embedshift.parity", name=name)
        result = ET.SubElement(case, "system-out" if self.passed else "failure")
        result.text = printable(" ".join([f"{self.verdict}. {self.sentence}", *self.changes]))
        return ET.tostring(suite, encoding="unicode", xml_declaration=True)

    def _lines(self) -> list[str]:
        return [self.verdict, self.sentence, *self.changes]

    def _table(self) -> pl.DataFrame:
        """Returns the table as text: its distances span many powers of ten."""
        rows = [[str(row[0]), row[1], *(f"{value:.3g}" for value in row[2:])] for row in self.table().rows()]
        return pl.DataFrame(rows, schema=dict.fromkeys(self.table().columns, pl.String), orient="row")
