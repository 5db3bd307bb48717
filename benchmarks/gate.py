"""Does the gate keep what is equal, and stop what is worse? On simulated pairs of encoders, and on changed checkpoints.

usage: python benchmarks/gate.py [--pairs 200] [--images 40,200] [--photos PHOTO_DIR]

Simulated: images are vectors of a common part and a part of each encoder, and views are moved by a lognormal amount in
common and random directions. Both encoders of a pair have the same law, so that they are equal in truth, and they
differ by as much as two halves of one of them do (printed). The rules are those of `embedshift check --init` with the
first encoder as reference. "Spread x 3": the logarithms of the shifts of each view differ three times as much; "x 1.2":
the second encoder moves 1.2 times as far.

With photos: 40 of them, the bundled encoder against copies with noise on the weight matrices of its last block, in
standard deviations of each; run, `--init` and `check` as a user calls them.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from embedshift.statistics import shift_ratios
from embedshift.statistics.agreement import METRICS
from embedshift.statistics.intervals import simultaneous_intervals
from embedshift.study.gate.decision import Outcome, decide
from embedshift.study.gate.margins import Half, margins_of, recall_differences
from embedshift.study.paired.estimate import Estimate
from machine import describe_machine

# Relative sizes of shifts, from hardly any to saturated; dimension, and the spectrum of the images.
SIZES = np.array([0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 2.5])
DIM, SPECTRUM = 96, 0.55
# How much of an image is an encoder's own; and the spread of the logarithm of a view's shift that is.
OWN, SPREAD = 0.2, 0.1
SCENARIOS = {"equal": (1.0, 1.0), "spread x 3": (3.0, 1.0), "x 1.2": (1.0, 1.2)}
WANTED = {
    "equal": "kept 93 % or more",
    "spread x 3": "broken 1 % or less",
    "x 1.2": "broken 80 % or more of 200 images, 35 % of 40",
}


class World:
    """Images as two encoders see them."""

    def __init__(self, rng: np.random.Generator, images: int) -> None:
        self.rng, self.images = rng, images
        self.scale = np.arange(1.0, DIM + 1) ** -SPECTRUM
        self.image = self._normal(images) + 2.0 * self.scale * rng.normal(size=DIM)
        size = rng.normal(0.0, 0.5, (images, 1)) + rng.normal(0.0, 0.5, (images, len(SIZES)))
        self.size = SIZES * np.exp(size)
        self.direction = self._normal(images, len(SIZES)) + self.scale * rng.normal(size=(len(SIZES), DIM))

    def _normal(self, *shape: int) -> np.ndarray:
        return self.scale * self.rng.normal(size=(*shape, DIM))

    def encoder(self, spread: float, farther: float) -> Half:
        """One encoder: what it has of its own is drawn."""
        originals = self.image + OWN * self._normal(self.images)
        size = farther * self.size * np.exp(spread * SPREAD * self.rng.normal(size=self.size.shape))
        views = originals[:, None] + size[..., None] * (self.direction + OWN * self._normal(*self.size.shape))
        unit = [vectors / np.linalg.norm(vectors, axis=-1, keepdims=True) for vectors in (originals, views[:, :, None])]
        return Half(*(vectors.astype(np.float32) for vectors in unit))


def outcomes(first: Half, second: Half, margins: tuple[np.ndarray, ...], in_all: np.ndarray) -> list[Outcome]:
    """Every rule's outcome, by the numbers that the table `comparison` and the table `agreement` hold."""
    (ratios, falls, floors), n = margins, len(first.views)
    sample = shift_ratios.log_ratios(first.shifts(None), second.shifts(None))
    overall = shift_ratios.over_augmentations(sample, in_all)
    together = simultaneous_intervals(sample, seed=0)
    ends = [np.append(*pair) for pair in zip((together.low, together.high), shift_ratios.t_interval(overall), strict=True)]
    value = np.append(sample.mean, overall.mean)
    found = [
        decide(Estimate(*numbers, n), bound, least=False).outcome
        for *numbers, bound in zip(value, *ends, np.log(ratios), strict=True)
    ]
    recalls = recall_differences(second.found(None) - first.found(None), in_all, None)
    found += [decide(each, -fall, least=True).outcome for each, fall in zip(recalls, falls, strict=True)]
    for of, floor in zip(METRICS.values(), floors, strict=True):
        agreed = of(first.originals, second.originals, None)[0]
        found.append(decide(Estimate(agreed, agreed, agreed, n), floor, least=True).outcome)
    return found
