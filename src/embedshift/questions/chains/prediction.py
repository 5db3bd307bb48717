"""A chain of changes that was not measured: how far it moves the embedding, and whether it is still found."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from embedshift.config import Json
from embedshift.errors import UsageError
from embedshift.questions.chains.numbers import Number
from embedshift.questions.chains.reference import singles_of
from embedshift.questions.chains.sums import LEAST_CHAINS, of_a_new_one
from embedshift.questions.chains.tables import Sums
from embedshift.registry import unknown_name
from embedshift.report.numbers import fixed, with_ends
from embedshift.study.result import Grid, Picture, Result
from embedshift.study.shown import escaped

if TYPE_CHECKING:
    from embedshift.study.study import Study

SCHEMA = pl.Schema(
    {"parts": str}
    | dict.fromkeys(("sum", "relative_shift", "relative_shift_low", "relative_shift_high"), float)
    | {"recall": float, "recall_low": float, "chains": int}
)


class Prediction(Result):
    """What measured chains say of one that was not measured.

    Args:
        parts: The changes, in their order.
        total: The relative shift of originals moved by the shifts of all parts.
        shift: The predicted relative shift, with an interval that covers 95 % of chains that are drawn alike.
        recall: Recall@1 of vectors that are moved by the shifts of all parts, and the bound for the chain's own.
        chains: The number of measured chains behind the interval and the bound.
    """

    name = "predict"

    def __init__(
        self, parts: Sequence[str], total: float, shift: Number, recall: tuple[float, float], chains: int
    ) -> None:
        self.chain, self.total, self.shift, self.recall, self.chains = tuple(parts), total, shift, recall, chains

    @property
    def table(self) -> pl.DataFrame:
        """One row: `parts, sum, relative_shift, relative_shift_low, relative_shift_high, recall, recall_low, …`."""
        return pl.DataFrame(
            [(", ".join(self.chain), self.total, *self.shift, *self.recall, self.chains)], SCHEMA, orient="row"
        )

    def _lines(self) -> Iterator[str]:
        words = ", then ".join(self.chain)
        yield (
            f"{words}: relative shift {with_ends(*self.shift, 3)}; its parts add up to {fixed(self.total, 3)}, and "
            f"{self.chains} measured chains say which fraction of such a sum is left."
        )
        yield (
            f"Recall@1 at least {fixed(self.recall[1], 3)}; vectors that are moved by the shifts of its parts find "
            f"{fixed(self.recall[0], 3)}."
        )
        yield "Interval and bound hold for 95 % of chains that are drawn as the measured ones were."

    def to_dicts(self) -> Json:
        """Returns the lines and the table as a list of rows, ready for JSON."""
        return {"sentences": [*self._lines()], "predicted": self.table.to_dicts()}

    @property
    def tables(self) -> dict[str, pl.DataFrame]:
        """All tables by name."""
        return {"predicted": self.table}

    def parts(self) -> Iterator[str | Grid]:
        """Yields the lines."""
        yield from self._lines()

    def _page(self, picture: Picture) -> Iterator[str]:
        yield "# What would this chain of changes do?"
        yield from map(escaped, self._lines())


def predict(study: "Study", parts: Sequence[str]) -> Prediction:
    """Predicts the relative shift and recall@1 of a chain of changes that was not measured.

    The vectors of originals are moved by the shifts of all parts and set to length 1. The measured chains of the study
    say how far such a sum is from the chain itself: the interval is that of full conformal prediction over chains.

    Args:
        study: A finished study that stores embeddings, with 19 measured chains or more (`chains=30` of `run`).
        parts: Names of two augmentations or more, in their order.

    Raises:
        UsageError: An augmentation is unknown, or the study has too few chains or no embeddings.

    Example:
        >>> import itertools, tempfile, embedshift, numpy as np
        >>> rng, towards = np.random.default_rng(0), dict(zip("abcde", 3 * np.eye(8)))
        >>> images = rng.normal(size=(60, 8)) + 2
        >>> changed = {name: images + way for name, way in towards.items()}
        >>> pairs = [*itertools.permutations("abcde", 2)][:-1]
        >>> changed |= {f"{one}_then_{two}": images + towards[one] + towards[two] for one, two in pairs}
        >>> study = embedshift.from_vectors(images, changed, out=tempfile.mkdtemp() + "/study")
        >>> found = study.predict(["e", "d"])
        >>> found.chains, found.shift.low < found.shift.value < found.shift.high
        (19, True)
    """
    reader = study.reader()
    reader.refuse_unfinished()
    chosen, singles = [parts] if isinstance(parts, str) else [*parts], singles_of(reader)
    if len(chosen) < 2:
        raise UsageError("predict: give two augmentations or more, such as messenger,screenshot")
    if unknown := [part for part in chosen if part not in singles]:
        raise UsageError(f"predict: {unknown_name('augmentation of this study', str(unknown[0]), singles)}")
    sums = Sums(reader)
    known = reader.need("chains").filter(pl.col("ratio") > 0)
    if len(known) < LEAST_CHAINS:
        words = f"an interval needs {LEAST_CHAINS} measured chains; run it with `chains` 30 into a new folder"
        raise UsageError(f"{reader.folder}: has {len(known)} of them: {words}")
    total, recall = (float(each.mean()) for each in sums.expected(chosen))
    total /= sums.reference.apart
    logs = np.log(known["ratio"].to_numpy())
    low, high = of_a_new_one(logs)
    shift = Number(*(total * float(np.exp(end)) for end in (logs.mean(), low, high)))
    missed = of_a_new_one((known["recall"] - known["recall_predicted"]).to_numpy())[0]
    return Prediction(chosen, total, shift, (recall, float(np.clip(recall + missed, 0, 1))), len(known))
