"""The data for testing claims: means over images, and standard deviations as means of their pseudo-values."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from embedshift.arrays import Values
from embedshift.statistics import sample
from embedshift.statistics.baselines import Baseline
from embedshift.statistics.layout import BLOCK, ImageRows, sums_and_counts
from embedshift.statistics.sample import Estimates, estimates_from_values

# The key of a number: `(metric, augmentation)` = a mean, `("sd", metric, augmentation)`, `("distance", augmentation,
# augmentation)` in alphabetical order, `("entropy_rise", augmentation)`.
Key = tuple[str, ...]
# Values of some images: by key, `[images, draws]`.
Block = Mapping[Key, Values]

# Metrics whose standard deviation a claim is about.
SD_METRICS = ("cosine_similarity", "l2_distance")


def distance(first: str, second: str) -> Key:
    return ("distance", *sorted((first, second)))


@dataclass(frozen=True)
class Evidence:
    """A sample of images, and the meaning of each of its numbers."""

    sample: Estimates
    columns: Mapping[Key, int]
    baseline: Baseline | None = None

    def having(self, keys: Iterable[Key]) -> int:
        """Returns how many images have a value of each of the keys; 0 if a key is missing."""
        return min(int(self.sample.having[self.columns[key]]) if key in self.columns else 0 for key in keys)

    def measures(self, metric: str) -> bool:
        return any(self.sample.having[column] for key, column in self.columns.items() if key[0] == metric)

    def means(self, keys: Iterable[Key]) -> Values:
        """Returns the means of existing keys, `[len(keys)]`."""
        return self.sample.mean[[self.columns[key] for key in keys]]


# Of a study without images, or without any of the paper's augmentations.
NO_EVIDENCE = Evidence(estimates_from_values(np.empty((1, 0))), {})


def gather(rows: ImageRows, read: Callable[[ImageRows], Iterator[Block]], baseline: Baseline | None = None) -> Evidence:
    """Collects the evidence of a study, with sums over the chunks of images by which its baseline is resampled."""
    first = next(read(rows.head(BLOCK)), None)
    if first is None:
        return NO_EVIDENCE
    layout = BlockLayout.from_block(first)
    pairs = None if baseline is None else baseline.pairs
    sizes = None if pairs is None else [int(count) for count in pairs.images]
    numbers = sample.gather(map(layout.sums_and_counts, read(rows)), chunks=sizes, groups=rows.groups)
    return dataclasses.replace(layout.evidence(numbers), baseline=baseline)


@dataclass(frozen=True)
class BlockLayout:
    """How the values of some images become numbers of a sample."""

    columns: Mapping[Key, int]
    centres: Mapping[Key, float]

    @classmethod
    def from_block(cls, first: Block) -> "BlockLayout":
        """Derives the layout from the first images; their means are the centres."""
        centres = {}
        for key, values in first.items():
            if key[0] in SD_METRICS:
                measured = values[~np.isnan(values)]
                centres[key] = float(measured.mean()) if len(measured) else 0.0
        keys = [*first, *(("sd", *key) for key in centres)]
        return cls({key: column for column, key in enumerate(keys)}, centres)

    def sums_and_counts(self, block: Block) -> tuple[Values, Values]:
        """Returns sums and counts over the draws of each image, `[b, K]`."""
        squares = {("sd", *key): (block[key] - centre) ** 2 for key, centre in self.centres.items()}
        return sums_and_counts(np.stack(list({**block, **squares}.values()), axis=2))

    def evidence(self, numbers: Estimates) -> Evidence:
        return Evidence(_with_standard_deviations(numbers, self.columns, self.centres), self.columns)


def _with_standard_deviations(
    numbers: Estimates, columns: Mapping[Key, int], centres: Mapping[Key, float]
) -> Estimates:
    gradients, means = np.eye(len(columns)), numbers.mean.copy()
    for key, centre in centres.items():
        mean_column, sd_column = columns[key], columns["sd", *key]
        offset, count = numbers.mean[mean_column] - centre, numbers.counts[mean_column]
        with np.errstate(invalid="ignore", divide="ignore"):
            sd = np.sqrt(np.maximum((numbers.mean[sd_column] - offset**2) * count / (count - 1), 0.0))
        varies = sd > 1e-12 * max(1.0, abs(numbers.mean[mean_column]))
        means[sd_column] = sd if varies or np.isnan(sd) else 0.0
        gradients[sd_column, sd_column] = 1 / (2 * sd) if varies else 0.0
        gradients[mean_column, sd_column] = -offset / sd if varies else 0.0
    linear = numbers.combine(gradients).with_means(means)
    return dataclasses.replace(linear, having=numbers.having, counts=numbers.counts)
