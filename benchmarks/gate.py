"""Does the gate keep what is equal, and stop what is worse? On simulated pairs of encoders, and on changed checkpoints.

usage: python benchmarks/gate.py [--pairs 200] [--images 40 200] [--photos PHOTO_DIR]

Simulated: images are vectors of a common part and a part of each encoder, and views are moved by a lognormal amount in
common and random directions. Both encoders of a pair have the same law, so that they are equal in truth, and they
differ by as much as two halves of one of them do. The rules are those of `embedshift check --init` with the
first encoder as reference. "Spread x 3": the logarithms of the shifts of each view differ three times as much; "x 1.2":
the second encoder moves 1.2 times as far.

With photos: 40 of them, the bundled encoder against copies with noise on the weight matrices of its last block, in
standard deviations of each; run, `--init` and `check` as a user calls them. Ends with exit code 1 unless all end so.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from bench import BUNDLED, COMMAND, arguments, print_head, print_machine, print_row
from embedshift.encoders.bundled import cached_folder, load_bundled
from embedshift.statistics import shift_ratios
from embedshift.statistics.agreement import METRICS
from embedshift.statistics.halves import Half, compared_halves, margins_of
from embedshift.statistics.intervals import simultaneous_intervals
from embedshift.statistics.judged import Outcomes, judge
from embedshift.study.gate.result import Outcome, decide
from embedshift.study.paired.estimate import Estimate, judged_estimate

# Relative sizes of shifts, from hardly any to saturated; dimension, and the spectrum of the images.
SIZES = np.array([0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 2.5])
DIM, SPECTRUM = 256, 0.75
# How much of an image is an encoder's own, and the spread of the logarithm of a view's shift that is: pairs then differ
# as two halves do.
OWN, SPREAD = 0.15, 0.04
# Scenario -> spread of the second encoder's shifts; how many times as large their squares are (large shifts saturate:
# 1.234 is a ratio of 1.2); and what should come out.
SCENARIOS = {
    "equal": (SPREAD, 1.0, "kept in 93 % or more"),
    "spread x 3": (0.34, 1.0, "broken in 1 % or less"),
    "x 1.2": (SPREAD, 1.234, "broken in 80 % or more (200 images), 35 % (40)"),
}
# Standard deviations of the noise on weights of the last block -> exit code that the gate should have.
COPIES = {"1e-3": 0, "0.1": 0, "0.3": 0, "1": 3}
WEIGHTS = "model.safetensors"


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
        size = farther**0.5 * self.size * np.exp(spread * self.rng.normal(size=self.size.shape))
        views = originals[:, None] + size[..., None] * (self.direction + OWN * self._normal(*self.size.shape))
        unit = [vectors / np.linalg.norm(vectors, axis=-1, keepdims=True) for vectors in (originals, views[:, :, None])]
        return Half(*(vectors.astype(np.float32) for vectors in unit))


def outcomes(first: Half, second: Half, margins: tuple[np.ndarray, ...], in_all: np.ndarray) -> list[Outcome]:
    """Every rule's outcome, by the numbers that the table `comparison` and the table `agreement` hold."""
    ((ratios, _), (falls, _), floors), n = margins, len(first.views)
    sample = shift_ratios.log_ratios(first.shifts(None), second.shifts(None))
    overall = shift_ratios.over_augmentations(sample, in_all)
    together = simultaneous_intervals(shift_ratios.with_overall(sample, in_all), seed=0)
    lows, highs = (together.low[1:], together.high[1:])
    low, high = (np.append(*pair) for pair in zip((lows, highs), shift_ratios.t_interval(overall), strict=True))
    found = [
        decide(Estimate(value, start, end, n), bound, least=False).outcome
        for value, start, end, bound in zip(
            np.append(sample.mean, overall.mean), low, high, np.log(ratios), strict=True
        )
    ]
    one, other = (Outcomes(half.found(None).transpose(0, 2, 1)) for half in (first, second))
    judged = judge(one, other, seed=0, included=in_all)
    recalls = (judged_estimate(judged, column) for column in range(len(falls)))
    found += [decide(each, -fall, least=True).outcome for each, fall in zip(recalls, falls, strict=True)]
    for of, floor in zip(METRICS.values(), floors, strict=True):
        agreed = of(first.originals, second.originals, None)[0]
        found.append(decide(Estimate(agreed, agreed, agreed, n), floor, least=True).outcome)
    return found


def simulated(images: int, pairs: int) -> None:
    """Prints for each scenario in how many pairs all rules are kept, one is broken, or something is undecided."""
    counts = {name: Counter[str]() for name in SCENARIOS}
    spreads: dict[str, list[float]] = {name: [] for name in SCENARIOS}
    for seed in range(pairs):
        world = World(np.random.default_rng([seed, images]), images)
        reference = world.encoder(SPREAD, 1.0)
        in_all = reference.shifts(None).relative.mean(axis=(0, 2)) < shift_ratios.SATURATED
        margins = margins_of([*compared_halves(reference.originals, reference.views, in_all, seed)], images)
        for name, (own, farther, _) in SCENARIOS.items():
            candidate = world.encoder(own, farther)
            found = outcomes(reference, candidate, margins, in_all)
            counts[name]["broken" if "broken" in found else "undecided" if "undecided" in found else "kept"] += 1
            ratios = shift_ratios.log_ratios(reference.shifts(None), candidate.shifts(None))
            spreads[name].append(float(np.sqrt(ratios.variance.mean())))
    print(f"\n{images} images, {pairs} pairs; spread: sd between images of the logarithm of a ratio\n")
    print_head("pair", "spread", "all kept", "inconclusive", "broken", "should be")
    for name, count in counts.items():
        cells = [f"{100 * count[outcome] / pairs:.1f} %" for outcome in ("kept", "undecided", "broken")]
        print_row(name, f"{np.mean(spreads[name]):.3f}", *cells, SCENARIOS[name][2])


def copies(photos: Path, folder: Path) -> bool:
    """Checks noisy copies of the bundled encoder, as a user does; whether all end as they should."""

    def call(*words: object) -> "subprocess.CompletedProcess[str]":
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        command = [*COMMAND, *map(str, words)]
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)

    def measure(model: str, out: str) -> None:
        call("run", photos, "--limit", 40, "--model", model, "--out", out, "--no-report")

    good = True
    measure(BUNDLED, "reference")
    call("check", "reference", "--init", "--rules", "gate.yaml")
    for noise, wanted in COPIES.items():
        with_noise(folder / f"noise-{noise}", "encoder.layer.11.", float(noise))
        measure(f"noise-{noise}", f"study-{noise}")
        done = call("check", f"study-{noise}", "--rules", "gate.yaml", "--against", "reference")
        good &= done.returncode == wanted
        said = (done.stdout or done.stderr).splitlines()[-1]
        print(f"noise of {noise} sd: exit code {done.returncode}, should be {wanted}: {said}", flush=True)
    return good


def with_noise(folder: Path, part: str, noise: float) -> None:
    """A checkpoint of the bundled encoder with noise on the weight matrices of one of its parts."""
    load_bundled()
    shutil.copytree(cached_folder(), folder)
    weights, drawn = load_file(folder / WEIGHTS), torch.Generator().manual_seed(0)
    for name, tensor in weights.items():
        if name.startswith(part) and tensor.ndim > 1:
            tensor += noise * tensor.std() * torch.randn(tensor.shape, generator=drawn)
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})


def main() -> None:
    options = arguments(__doc__, pairs=200, images=(40, 200), photos=Path)
    for images in options.images:
        simulated(images, options.pairs)
    print_machine()
    if options.photos:
        with tempfile.TemporaryDirectory() as folder:
            sys.exit(not copies(options.photos.resolve(), Path(folder)))


if __name__ == "__main__":
    main()
