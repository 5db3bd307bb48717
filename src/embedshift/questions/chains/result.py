"""Which changes made batches of copies: the result of `dissect`, and its page."""

import functools
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from embedshift.config import Json
from embedshift.errors import UsageError
from embedshift.questions.chains.numbers import (
    FEW,
    LEAST_PAIRS,
    LEAST_REFERENCE,
    NO_NUMBER,
    NOTHING,
    UNDECIDED,
    UNKNOWN,
    Dissected,
    Fingerprints,
    Number,
    Part,
    dissected_by,
    single_scores,
)
from embedshift.questions.chains.pairs import Pairs, batches_of
from embedshift.questions.chains.prediction import Prediction, predict
from embedshift.questions.chains.reference import Reference
from embedshift.questions.chains.sums import distances
from embedshift.report.numbers import MISSING, fixed, listed, with_ends
from embedshift.statistics.intervals import mean_interval
from embedshift.statistics.sample import estimates_from_values
from embedshift.store.gallery import Directions
from embedshift.study.result import Grid, Picture, Result
from embedshift.study.shown import escaped

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from embedshift.study.study import Study

log = logging.getLogger(__name__)

SCHEMA = pl.Schema(
    {"batch": str, "image_id": str, "augmentation": str, "coefficient": float, "low": float, "high": float}
    | {"named": bool, "remains": str}
)
HEADINGS = ("batch", "pairs", "relative shift", "made by", "coefficient", "unexplained")
# A relative shift from which on originals and copies are as far apart as different images.
OTHER_IMAGES = 0.8


class Dissection(Result):
    """Which changes made batches of copies, by the fingerprints of a study's changes.

    Args:
        fingerprints: Of the changes of the study.
        found: What is found in each batch.
        shifts: The relative shift of each batch: the mean `1 - cos` of its pairs over that of different originals.
        singles: For each batch, its images, and the change that each pair is named by; None = undecided.
    """

    name = "dissect"

    def __init__(
        self,
        fingerprints: Fingerprints,
        found: Mapping[str, Dissected],
        shifts: Mapping[str, Number],
        singles: Mapping[str, Sequence[tuple[str, str | None]]],
    ) -> None:
        self.fingerprints, self.found, self.shifts, self.singles = fingerprints, found, shifts, singles

    def named(self, batch: str) -> list[str]:
        """Returns the names of the changes that made a batch, the largest first; none where it is not decided."""
        return [self.fingerprints.names[change] for change in self.found[batch].named]

    @functools.cached_property
    def table(self) -> pl.DataFrame:
        """Changes of each batch, then its pairs: `batch, image_id, augmentation, coefficient, low, …, remains`."""
        rows = [row for batch in self.found for row in (*self._changes(batch), *self._pairs(batch))]
        return pl.DataFrame(rows, SCHEMA, orient="row")

    def _changes(self, batch: str) -> Iterator[tuple[Any, ...]]:
        found, none = self.found[batch], (None, None, None)
        parts = {part.change: part for part in found.parts}
        for change, name in enumerate(self.fingerprints.names):
            part = parts.get(change)
            number = part.coefficient if part else found.others.get(change, none)
            yield batch, None, name, *number, bool(part and part.is_named), found.remains

    def _pairs(self, batch: str) -> Iterator[tuple[Any, ...]]:
        for image_id, name in self.singles[batch]:
            yield batch, image_id, name, None, None, None, name is not None, NOTHING if name else UNDECIDED

    def sentence(self, batch: str) -> str:
        """Returns what is found in one batch, in one line."""
        found, shift = self.found[batch], self.shifts[batch]
        words = [*filter(None, [self._made_by(found), *map(self._instead, found.parts)])]
        if not found.named and shift.low > OTHER_IMAGES:
            words.append("originals and copies are as far apart as different images: do their ids match?")
        elif found.named and found.unexplained >= 0.05:
            words.append(
                f"{100 * found.unexplained:.0f} % of the squared shift is unexplained, where smaller changes may hide"
            )
        return f"{batch} ({found.pairs:,} pairs): {'; '.join(words)}."

    def _made_by(self, found: Dissected) -> str:
        if found.named:
            return f"made by {' and '.join(self._in_words(part) for part in found.parts if part.is_named)}"
        few = f"fewer than {LEAST_PAIRS} independent pairs, or than {LEAST_REFERENCE} images in the study"
        return {
            NOTHING: "originals and copies have the same vectors",
            UNKNOWN: "changed by something that the study does not have",
            FEW: f"not judged: {few}",
        }.get(found.remains, f"undecided from {found.pairs:,} pairs")

    def _in_words(self, part: Part) -> str:
        names = self.fingerprints.names
        alike = [names[each] for each in self.fingerprints.alike(part.change)]
        return names[part.change] + (f" (looks like {listed(alike, 3)})" if alike else "")

    def _instead(self, part: Part) -> str:
        names = self.fingerprints.names
        return f"{' or '.join(names[each] for each in (part.change, *part.rivals))}, undecided" if part.rivals else ""

    def _lines(self) -> Iterator[str]:
        yield from map(self.sentence, self.found)
        names, seen = self.fingerprints.names, self.fingerprints.seen
        if not seen.all():
            unseen = [name for name, is_seen in zip(names, seen, strict=True) if not is_seen]
            yield f"Never named, since their mean shift is lost in noise: {', '.join(unseen)}."
        count = sum(name is not None for own in self.singles.values() for _, name in own)
        if np.isfinite(self.fingerprints.single_limit):
            pairs = sum(map(len, self.singles.values()))
            yield f"{count:,} of {pairs:,} single pairs are named; the others are undecided."
        else:
            yield "Single pairs are undecided: of the study's own images more than 2 % would be named wrongly."
        yield "The order of changes, and changes with equal mean shifts, cannot be told from vectors."

    def _table(self) -> pl.DataFrame:
        return self.table.filter(pl.col("named") & pl.col("image_id").is_null()).drop("image_id", "named")

    def to_dicts(self) -> Json:
        """Returns sentences and the table as a list of rows, ready for JSON."""
        return {"sentences": [*self._lines()], "dissected": self.table.to_dicts()}

    @property
    def tables(self) -> dict[str, pl.DataFrame]:
        """All tables by name."""
        return {"dissected": self.table}

    def figure(self) -> "Figure":
        """Draws the mean shift of each batch, and the changes that explain it laid end to end."""
        from embedshift.questions.chains.figures import draw_arrows

        names = self.fingerprints.names
        return draw_arrows(
            {
                batch: ([names[part.change] + ("" if part.is_named else " ?") for part in found.parts], found.arrows)
                for batch, found in self.found.items()
            }
        )

    def _figures(self) -> Mapping[str, Callable[[], "Figure"]]:
        return {"dissect": self.figure}

    @property
    def _grid(self) -> Grid:
        title = "coefficient 1 = the change as strong as in the study; 95 % intervals"
        return Grid(HEADINGS, ("text", "number", "number", "text"), [*map(self._cells, self.found)], title)

    def _cells(self, batch: str) -> list[str]:
        found = self.found[batch]
        named = [part for part in found.parts if part.is_named]
        names = [self.fingerprints.names[part.change] for part in named]
        return [
            batch,
            f"{found.pairs:,}",
            with_ends(*self.shifts[batch], 3),
            ", ".join(names) or found.remains,
            "; ".join(with_ends(*part.coefficient, 2) for part in named) or MISSING,
            fixed(found.unexplained, 2),
        ]

    def parts(self) -> Iterator[str | Grid]:
        """Yields the table of batches, and what is found in each."""
        yield self._grid
        yield from self._lines()

    def _page(self, picture: Picture) -> Iterator[str]:
        yield "# What made the copies?"
        yield from map(escaped, self._lines())
        yield self._grid.markdown()
        yield from picture("Mean shift of each batch, and its parts laid end to end", "dissect")
        yield "Intervals: 95 %, over resamples of pairs and of the study's images. All rows are in the table here."


def dissect(study: "Study", pairs: Any, *, columns: Mapping[str, str] | None = None) -> Dissection:
    """Names the changes that made copies, from the vectors of originals and copies: `embedshift docs chains`.

    Args:
        study: A finished study that stores embeddings, of 50 images or more: its changes are the candidates.
        pairs: A finished study of the same encoder, each of whose augmentations is a batch; a Parquet file or a frame
            with the columns `image_id`, `view` and `vector`, whose rows of the view "original" are originals, and
            where the column `batch`, or else `view`, names the batch of a copy; numbers `[m, 2, D]`, original and copy,
            or an npy file of them.
        columns: Names of columns of a table, as in `embedshift.from_vectors`.

    Raises:
        UsageError: The study is not finished, stores no embeddings, or has no changes or too few images; the pairs
            cannot be read, have no copies, or are of another encoder.

    Example:
        >>> import tempfile, embedshift, numpy as np
        >>> rng, towards = np.random.default_rng(0), 3 * np.eye(8)
        >>> images, others = rng.normal(size=(2, 100, 8)) + 2
        >>> changed = {"blur": images + towards[0], "noise": images + towards[1], "dark": images + towards[2]}
        >>> study = embedshift.from_vectors(images, changed, out=tempfile.mkdtemp() + "/study")
        >>> found = study.dissect(np.stack([others, others + towards[0] + towards[2]], axis=1)[:40])
        >>> sorted(found.named("copies"))
        ['blur', 'dark']
    """
    reader = study.reader()
    reader.refuse_unfinished()
    reference = Reference.of(reader)
    fingerprints = reference.fingerprints(reference.singles)
    if not reference.apart >= 1e-9:
        raise UsageError(f"{reader.folder}: all originals have the same vector; give other images")
    known = Directions.of([reference.images], reader.dim)
    found, shifts = dict[str, Dissected](), dict[str, Number]()
    singles = dict[str, list[tuple[str, str | None]]]()
    for each in batches_of(pairs, reader, columns):
        if own := int(known.have(each.originals).sum()):
            words = "%s: %d of %d originals are also in the study; changes seem easier to tell than in other images"
            log.warning(words, each.batch, own, len(each.ids))
        found[each.batch] = dissected_by(fingerprints, each.shifts, each.groups, seed=reader.info.seed)
        shifts[each.batch] = _relative_shift(each, reference.apart, reader.info.seed)
        singles[each.batch] = [*zip(each.ids, _single_names(fingerprints, each), strict=True)]
    return Dissection(fingerprints, found, shifts, singles)


def _relative_shift(pairs: Pairs, apart: float, seed: int) -> Number:
    if not len(pairs.ids):
        return NO_NUMBER
    moved = distances(pairs.originals, pairs.copies[:, None])[:, None]
    sample = estimates_from_values(moved, np.unique(pairs.groups, return_inverse=True)[1])
    low, high = mean_interval(sample, seed=seed, low=0.0, high=2.0)
    return Number(*(float(each[0]) / apart for each in (sample.mean, low, high)))


def _single_names(fingerprints: Fingerprints, pairs: Pairs) -> Iterator[str | None]:
    shifts = fingerprints.whitened(pairs.shifts).astype(np.float64)
    products, squares = shifts @ fingerprints.moments.means[0].T, np.square(shifts).sum(axis=1)
    best, scores = single_scores(products, squares, fingerprints.lengths, fingerprints.seen)
    for change, score in zip(best, scores, strict=True):
        yield fingerprints.names[change] if score >= fingerprints.single_limit else None


__all__ = ["Dissection", "Prediction", "dissect", "predict"]
