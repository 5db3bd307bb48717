"""The mean corruption shift: ImageNet-C's mean corruption error with the relative shift in place of the error."""

from collections.abc import Sequence

import numpy as np

from embedshift.arrays import Values
from embedshift.augmentations.corruptions import STANDARD
from embedshift.statistics.families import MeasuredFamily

MEAN = "mean"
# The unit of families that are corruptions: they have no other strength.
UNIT = "severity"


def corruptions_of(families: Sequence[MeasuredFamily]) -> list[MeasuredFamily]:
    """Returns the families that are corruptions."""
    return [family for family in families if family.unit == UNIT]


def mean_weights(corruptions: Sequence[MeasuredFamily]) -> Values:
    """Returns weights for means over C corruptions at V severities in total, `[V, C]` or `[V, C + 1]`."""
    counts = [len(family.views) for family in corruptions]
    each = np.repeat(np.eye(len(counts)), counts, axis=0) / np.repeat(counts, counts)[:, None]
    counted = np.array([family.name in STANDARD for family in corruptions], np.float64)
    return np.hstack([each, each @ (counted / counted.sum())[:, None]]) if counted.any() else each
