"""The data for testing claims: means over images, and standard deviations as means of their pseudo-values."""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from embedshift.arrays import Values
from embedshift.statistics import groups, sample
from embedshift.statistics.groups import Groups
from embedshift.statistics.layout import BLOCK, sums_and_counts
from embedshift.statistics.sample import Estimates, of_values

# What a number is of: `(metric, augmentation)` = a mean, `("sd", metric, augmentation)`, `("distance", augmentation,
# augmentation)` in alphabetical order, `("entropy_rise", augmentation)`.
Key = tuple[str, ...]
# Values of some images: by key, `[images, draws]`.
Block = Mapping[Key, Values]

# Metrics whose standard deviation a claim is about.
SPREAD_OF = ("cosine_similarity", "l2_distance")


def distance(one: str, other: str) -> Key:
    """Returns the key of the distance between two augmentations."""
    return ("distance", *sorted((one, other)))


@dataclass(frozen=True)
class Evidence:
    """A sample of images, and the meaning of each of its numbers."""

    sample: Estimates
    places: Mapping[Key, int]

    def having(self, keys: Iterable[Key]) -> int:
        """Returns how many images have a value of each of the keys; 0 if a key is missing."""
        return min(int(self.sample.having[self.places[key]]) if key in self.places else 0 for key in keys)

    def means(self, keys: Iterable[Key]) -> Values:
        """Returns the means of existing keys, `[len(keys)]`."""
        return self.sample.mean[[self.places[key] for key in keys]]


# Of a study without images, or without any of the paper's augmentations.
NOTHING = Evidence(of_values(np.empty((1, 0))), {})


def gather(blocks: Iterable[Block]) -> Evidence:
    """Collects the evidence of images that arrive some at a time; memory does not grow with their number."""
    waiting = iter(blocks)
    first = next(waiting, None)
    if first is None:
        return NOTHING
    form = Form.of(first)
    return form.evidence(sample.gather(map(form.sums_and_counts, itertools.chain([first], waiting))))


def gather_groups(rows: Groups, read: Callable[[pl.LazyFrame], Iterator[Block]]) -> Evidence:
    """Collects the evidence of a study in groups."""
    first = next(read(rows.head(BLOCK)), None) if rows.items else None
    if first is None:
        return NOTHING
    form = Form.of(first)
    return form.evidence(groups.gather(rows, functools.partial(_numbers, read=read, form=form)))


def _numbers(
    rows: pl.LazyFrame, *, read: Callable[[pl.LazyFrame], Iterator[Block]], form: "Form"
) -> Iterator[tuple[Values, Values]]:
    return map(form.sums_and_counts, read(rows))


@dataclass(frozen=True)
class Form:
    """How the values of some images become numbers of a sample."""

    places: Mapping[Key, int]
    centres: Mapping[Key, float]

    @classmethod
    def of(cls, first: Block) -> "Form":
        """Derives the form from the first images."""
        centres = {}
        for key, values in first.items():
            if key[0] in SPREAD_OF:
                there = values[~np.isnan(values)]
                centres[key] = float(there.mean()) if len(there) else 0.0
        keys = [*first, *(("sd", *key) for key in centres)]
        return cls({key: place for place, key in enumerate(keys)}, centres)

    def sums_and_counts(self, block: Block) -> tuple[Values, Values]:
        """Returns sums and counts over the draws of each image, `[b, K]`."""
        squares = {("sd", *key): (block[key] - centre) ** 2 for key, centre in self.centres.items()}
        return sums_and_counts(np.stack(list({**block, **squares}.values()), axis=2))

    def evidence(self, found: Estimates) -> Evidence:
        """Returns the evidence in a sample of these numbers."""
        return Evidence(_with_sds(found, self.places, self.centres), self.places)


def _with_sds(found: Estimates, places: Mapping[Key, int], centres: Mapping[Key, float]) -> Estimates:
    """Replaces means of squares around a centre by standard deviations (ddof = 1)."""
    weights, mean = np.eye(len(places)), found.mean.copy()
    for key, centre in centres.items():
        at, to = places[key], places["sd", *key]
        off, values = found.mean[at] - centre, found.counts[at]
        with np.errstate(invalid="ignore", divide="ignore"):
            sd = np.sqrt(np.maximum((found.mean[to] - off**2) * values / (values - 1), 0.0))
        moves = sd > 1e-12 * max(1.0, abs(found.mean[at]))
        mean[to] = sd if moves or np.isnan(sd) else 0.0
        weights[to, to], weights[at, to] = (1 / (2 * sd), -off / sd) if moves else (0.0, 0.0)
    combined = found.combine(weights)
    shift = np.nan_to_num(mean) - np.nan_to_num(combined.mean)
    values = None if combined.values is None else combined.values + shift
    return dataclasses.replace(combined, mean=mean, values=values, having=found.having, counts=found.counts)
