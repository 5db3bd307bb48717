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
import torch
from safetensors.torch import load_file, save_file

from embedshift.config import BUNDLED
from embedshift.encoders.bundled import cached_folder, load_bundled
from embedshift.statistics import shift_ratios
from embedshift.statistics.agreement import METRICS
from embedshift.statistics.intervals import simultaneous_intervals
from embedshift.statistics.vectors import halves
from embedshift.study.gate.proposal import Half, margins_of, recall_differences
from embedshift.study.gate.result import Outcome, decide
from embedshift.study.paired.estimate import Estimate
from machine import describe_machine

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
    ends = [
        np.append(*pair)
        for pair in zip((together.low[1:], together.high[1:]), shift_ratios.t_interval(overall), strict=True)
    ]
    value = np.append(sample.mean, overall.mean)
    found = [
        decide(Estimate(number, low, high, n), bound, least=False).outcome
        for number, low, high, bound in zip(value, *ends, np.log(ratios), strict=True)
    ]
    recalls = recall_differences(second.found(None) - first.found(None), in_all, None)
    found += [decide(each, -fall, least=True).outcome for each, fall in zip(recalls, falls, strict=True)]
    for of, floor in zip(METRICS.values(), floors, strict=True):
        agreed = of(first.originals, second.originals, None)[0]
        found.append(decide(Estimate(agreed, agreed, agreed, n), floor, least=True).outcome)
    return found


def simulated(images: int, pairs: int) -> None:
    """Prints for each scenario in how many pairs all rules are kept, one is broken, or something is undecided."""
    counts = {name: Counter[str]() for name in SCENARIOS}
    which: Counter[str] = Counter()
    spreads: list[list[float]] = []
    started = time.process_time()
    for seed in range(pairs):
        world = World(np.random.default_rng([seed, images]), images)
        reference = world.encoder(SPREAD, 1.0)
        in_all = reference.shifts(None).relative.mean(axis=(0, 2)) < shift_ratios.SATURATED
        margins = margins_of(reference.originals, reference.views, in_all, images, seed)
        spread = [_spread(*halved(reference, seed))]
        for name, (own, farther, _) in SCENARIOS.items():
            candidate = world.encoder(own, farther)
            found = outcomes(reference, candidate, margins, in_all)
            counts[name]["broken" if "broken" in found else "undecided" if "undecided" in found else "kept"] += 1
            if name == "equal":
                which.update(f"{_rule(place)} {outcome}" for place, outcome in enumerate(found) if outcome != "kept")
            spread.append(_spread(reference, candidate))
        spreads.append(spread)
    means = dict(zip(("halves", *SCENARIOS), np.mean(spreads, axis=0), strict=True))
    print(f"\n{images} images, {pairs} pairs, {time.process_time() - started:.0f} s of processor time")
    print("| pair | spread | all kept | inconclusive | broken | should be |\n|---|---|---|---|---|---|")
    for name, count in counts.items():
        cells = " | ".join(f"{100 * count[outcome] / pairs:.1f} %" for outcome in ("kept", "undecided", "broken"))
        print(f"| {name} | {means[name]:.3f} | {cells} | {SCENARIOS[name][2]} |")
    print(f"halves: spread {means['halves']:.3f}; of equal pairs: {dict(which) or 'every rule is kept'}")


def halved(encoder: Half, seed: int) -> tuple[Half, Half]:
    """The first halves of an encoder's dimensions."""
    vectors = np.concatenate([encoder.originals, encoder.views.reshape(-1, DIM)])
    first, second = next(halves(vectors, seed=seed))
    n = len(encoder.originals)
    return Half(first[:n], first[n:].reshape(n, -1, 1, DIM // 2)), Half(
        second[:n], second[n:].reshape(n, -1, 1, DIM // 2)
    )


def _spread(first: Half, second: Half) -> float:
    """The standard deviation between images of the logarithm of a ratio, a mean over augmentations."""
    sample = shift_ratios.log_ratios(first.shifts(None), second.shifts(None))
    return float(np.sqrt(sample.variance.mean()))


def _rule(place: int) -> str:
    count = len(SIZES) + 1
    return ("ratio", "recall", "agreement")[place // count] + (" of all" if place % count == count - 1 else "")


def copies(photos: Path) -> int:
    """Checks noisy copies of the bundled encoder, as a user does; returns 1 unless all end as they should."""
    failed = 0
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        _embedshift(folder, "run", photos, "--limit", 40, "--model", BUNDLED, "--out", "reference", "--no-report")
        _embedshift(folder, "check", "reference", "--init", "--rules", "gate.yaml")
        for noise, wanted in COPIES.items():
            with_noise(folder / f"noise-{noise}", "encoder.layer.11.", float(noise))
            study = f"study-{noise}"
            _embedshift(
                folder, "run", photos, "--limit", 40, "--model", f"noise-{noise}", "--out", study, "--no-report"
            )
            done = _embedshift(folder, "check", study, "--rules", "gate.yaml", "--against", "reference")
            failed += done.returncode != wanted
            print(
                f"noise of {noise} sd: exit code {done.returncode}, should be {wanted}: {done.stdout.splitlines()[-1]}"
            )
    return int(failed > 0)


def _embedshift(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    start = [sys.executable, "-c", "from embedshift.cli import main; main()"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [*start, *map(str, arguments)], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


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
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--images", default="40,200", help="numbers of images of simulated pairs")
    parser.add_argument("--photos", type=Path, help="folder of photos, for the copies of the bundled encoder")
    options = parser.parse_args()
    print(describe_machine())
    for images in filter(None, options.images.split(",")):
        simulated(int(images), options.pairs)
    if options.photos:
        sys.exit(copies(options.photos.resolve()))


if __name__ == "__main__":
    main()
