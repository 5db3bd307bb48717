"""How often does the gate fail encoders that are equal, and those that are worse? Simulated, and on checkpoints.

usage: python benchmarks/gate.py [--only losses vectors] [--repetitions 2000] [--pairs 200] [--images 40 200]
       [--photos PHOTO_DIR]

losses: every image is found, or not, by both encoders under nine changes; under each, a part of the images is found by
one of both alone. A loss is under one of the changes; ratios of shifts are equal. All rules that `embedshift check
--init` proposes on ratios and recall are judged together.

vectors: images are vectors of a common part and a part of each encoder, and views are moved by a lognormal amount in
common and random directions. Both encoders of a pair have the same law, so that they are equal in truth, and they
differ by as much as two halves of one of them do; or the second one moves 1.2 times as far; or as far, but with three
times the spread, which loses 1.5 points of recall. The rules on agreement are judged, too.

With photos: 40 of them, the bundled encoder against copies with noise on the weight matrices of its last block, in
standard deviations of each; run, `--init` and `check` as a user calls them, and the study beside itself. Ends with exit
code 1 unless all end so.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from scipy.stats import norm

from bench import BUNDLED, COMMAND, arguments, print_head, print_machine, print_row
from embedshift.encoders.bundled import cached_folder, load_bundled
from embedshift.questions.check.proposal import RATIO, RECALL_LOSS
from embedshift.questions.check.result import Outcome, outcome_of
from embedshift.statistics import shift_ratios
from embedshift.statistics.agreement import METRICS
from embedshift.statistics.halves import Half, agreement_floors, compared_halves
from embedshift.statistics.intervals import clopper_pearson, holm, simultaneous_intervals
from embedshift.statistics.judged import Judged, Outcomes, judge, p_of_mean
from embedshift.statistics.paired import found_first
from embedshift.statistics.sample import Estimates, estimates_from_values
from embedshift.study.paired.estimate import judged_estimate

# Relative sizes of shifts, from hardly any to saturated; dimension, and the spectrum of the images.
SIZES = np.array([0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 2.5])
DIM, SPECTRUM = 256, 0.75
# How much of an image is an encoder's own, and the spread of the logarithm of a view's shift that is: pairs then differ
# as two halves do.
OWN, SPREAD = 0.15, 0.04
CHANGES, DIFFERING = 9, (0.1, 0.3, 0.6)
# Scenario -> spread of the second encoder's shifts; how many times as large their squares are (large shifts saturate:
# 1.234 is a ratio of 1.2); and what should come out.
SCENARIOS = {
    "equal": (SPREAD, 1.0, "5 % or less fail"),
    "spread x 3": (0.34, 1.0, "some fail: recall is 1.5 points lower"),
    "x 1.2": (SPREAD, 1.234, "fail"),
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


def outcomes(ratios: Estimates, in_all: np.ndarray, recall: Judged, *, at_once: bool) -> list[Outcome]:
    """The outcomes of those rules on ratios and recall that fail; ratios of `at_once` have simultaneous intervals."""
    both = shift_ratios.with_overall(ratios, in_all)
    p = np.concatenate(
        [np.where(both.mean > 0, p_of_mean(both), 1.0), np.where(recall.difference < 0, recall.p_values(), 1.0)]
    )
    failing, count = holm(p) <= 0.05, len(both.mean)
    ends = np.stack(shift_ratios.t_interval(both))
    if at_once and failing[1:count].any():
        together = simultaneous_intervals(both, seed=0)
        ends[:, 1:] = together.low[1:], together.high[1:]
    found = []
    for rule in np.flatnonzero(failing).tolist():
        if rule < count:
            low, high = np.exp(ends[:, rule]).tolist()
            found.append(outcome_of((low, high), RATIO, least=False, same=1.0))
        else:
            each = judged_estimate(recall, rule - count)
            found.append(outcome_of((each.low, each.high), -RECALL_LOSS, least=True, same=0.0))
    return found


def worst(found: Sequence[Outcome]) -> Outcome:
    return next((each for each in ("broken", "worse") if each in found), "undecided")


def rate(count: int, number: int) -> str:
    low, high = (100 * float(end) for end in clopper_pearson(count, number))
    return f"{100 * count / number:.1f} % [{low:.1f} to {high:.1f}]"


def lost_by(rng: np.random.Generator, images: int, differing: float, loss: float) -> np.ndarray:
    """What the second encoder finds more of each image under each change, -1 to 1; changes of an image are alike."""
    alike = (rng.normal(size=(images, 1)) + rng.normal(size=(images, CHANGES))) / np.sqrt(2)
    drawn, losses = norm.cdf(alike), np.append(loss, np.zeros(CHANGES - 1))
    return np.where(drawn < (differing + losses) / 2, -1.0, np.where(drawn > 1 - (differing - losses) / 2, 1.0, 0.0))


def losses(repetitions: int) -> None:
    """Prints how often a check fails that has no loss, or one under one of nine changes."""
    print("\nRules on ratios and recall; a check fails that has a rule which is broken or worse\n")
    print_head("differing", "loss", "images", "checks that fail", "broken")
    every = np.ones(CHANGES, bool)
    for differing in DIFFERING:
        for loss in (0.0, 0.05, 0.1, 0.2):
            for images in (60, 200, 1_000) if loss <= differing else ():
                counts = Counter[str]()
                for seed in range(repetitions):
                    rng = np.random.default_rng([seed, images])
                    gains = lost_by(rng, images, differing, loss)[:, None]
                    judged = judge(Outcomes(np.zeros_like(gains)), Outcomes(gains), seed=seed)
                    logs = 0.1 * (rng.normal(size=(images, 1)) + rng.normal(size=(images, CHANGES)))
                    counts[worst(outcomes(estimates_from_values(logs), every, judged, at_once=False))] += 1
                fails = rate(counts["broken"] + counts["worse"], repetitions)
                broken = f"{100 * counts['broken'] / repetitions:.1f} %"
                print_row(f"{100 * differing:g} %", f"{100 * loss:g}", images, fails, broken)


def vectors(images: int, pairs: int) -> None:
    """Prints for each scenario in how many pairs a rule fails."""
    counts = {name: Counter[str]() for name in SCENARIOS}
    for seed in range(pairs):
        world = World(np.random.default_rng([seed, images]), images)
        reference = world.encoder(SPREAD, 1.0)
        in_all = reference.shifts(None).relative.mean(axis=(0, 2)) < shift_ratios.SATURATED
        floors = agreement_floors([*compared_halves(reference.originals, reference.views, in_all, seed)])
        for name, (own, farther, _) in SCENARIOS.items():
            candidate = world.encoder(own, farther)
            first, second = (Outcomes(found_first(each.ranks(None))) for each in (reference, candidate))
            ratios = shift_ratios.log_ratios(reference.shifts(None), candidate.shifts(None))
            said = outcomes(ratios, in_all, judge(first, second, seed=0, included=in_all), at_once=True)
            for of, floor in zip(METRICS.values(), floors, strict=True):
                agreed = of(reference.originals, candidate.originals, None)[0]
                said.append(outcome_of((agreed, agreed), floor, least=True))
            counts[name][worst(said)] += 1
    print(f"\n{images} images, {pairs} pairs of encoders; all proposed rules\n")
    print_head("pair", "checks that fail", "broken", "should be")
    for name, count in counts.items():
        broken = f"{100 * count['broken'] / pairs:.1f} %"
        print_row(name, rate(count["broken"] + count["worse"], pairs), broken, SCENARIOS[name][2])


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
    itself = call("check", "reference", "--rules", "gate.yaml", "--against", "reference", "--strict")
    print(f"the study beside itself: exit code {itself.returncode}, should be 0: {itself.stdout.splitlines()[-1]}")
    good &= itself.returncode == 0
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
    options = arguments(
        __doc__, only=("losses", "vectors"), repetitions=2_000, pairs=200, images=(40, 200), photos=Path
    )
    if "losses" in options.only:
        losses(options.repetitions)
    for images in options.images if "vectors" in options.only else ():
        vectors(images, options.pairs)
    print_machine()
    if options.photos:
        with tempfile.TemporaryDirectory() as folder:
            sys.exit(not copies(options.photos.resolve(), Path(folder)))


if __name__ == "__main__":
    main()
