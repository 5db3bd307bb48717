"""Do the intervals cover? Simulations of every kind of interval that a report shows.

usage: python benchmarks/coverage.py [--repetitions 4000] [--only means differences ratios relative_shifts ranks sets]

Means have the bootstrap-t, proportions Clopper and Pearson's interval at the effective number of values, differences of
pairs the studentised max-T, relative shifts the bootstrap-t with the baseline resampled, of the logarithm for the lower
end if every image moved. Several draws of an image are alike: their correlation is 0.5 (normal, lognormal: in the
logarithm), and for 0 and 1 the chances of images have a beta distribution with the correlation 1/3. "sets" are numbers
of whole studies: centred shifts, effective ranks, areas under the curve, kept neighbours, and the split of a variance.
"""

import argparse
import itertools
import time
from collections.abc import Callable, Iterator

import numpy as np
import polars as pl
from scipy import stats

from embedshift.questions.direction.tables import centred_shifts
from embedshift.questions.geometry.tables import effective_rank, jackknife
from embedshift.questions.search.matching import all_pairs, auc_interval, auc_values, recall_metrics
from embedshift.questions.variance.tables import split
from embedshift.statistics import intervals
from embedshift.statistics.baselines import (
    Pairs,
    bootstrap_t,
    cosine_pairs,
    log_bootstrap_t,
    relative_shifts,
    with_exact_baseline,
)
from embedshift.statistics.layout import image_rows
from embedshift.statistics.sample import estimates_from_values, gather
from embedshift.statistics.summary import contrasts
from embedshift.statistics.vectors import cosine, normalised
from machine import describe_machine

# Repetitions that share their resamples, as columns of one sample: each block has a seed of its own.
TOGETHER = 100
NUMBERS = (8, 20, 50, 500)
DRAWS = (1, 5)
Draw = Callable[[np.random.Generator, tuple[int, int, int]], np.ndarray]
Residual = Callable[[np.random.Generator, int], np.ndarray]


def normal(rng: np.random.Generator, shape: tuple[int, int, int]) -> np.ndarray:
    """Images x draws x repetitions; the mean is 0."""
    if shape[1] == 1:
        return rng.normal(size=shape)
    return np.asarray(np.sqrt(0.5) * (rng.normal(size=(shape[0], 1, shape[2])) + rng.normal(size=shape)))


def lognormal(rng: np.random.Generator, shape: tuple[int, int, int]) -> np.ndarray:
    """The exponential of a standard normal, less its mean."""
    return np.asarray(np.exp(normal(rng, shape)) - np.exp(0.5))


def binary(chance: float) -> Draw:
    """0 and 1, less the chance of 1."""

    def draw(rng: np.random.Generator, shape: tuple[int, int, int]) -> np.ndarray:
        own = chance if shape[1] == 1 else rng.beta(2 * chance, 2 * (1 - chance), (shape[0], 1, shape[2]))
        return (rng.random(shape) < own) - chance

    return draw


def means(repetitions: int) -> None:
    """Coverage of 95 % intervals of means and of proportions."""
    kinds: dict[str, tuple[Draw, float | None]] = {
        "normal": (normal, None), "lognormal": (lognormal, None),
        "0/1, p = 0.02": (binary(0.02), 0.02), "0/1, p = 0.5": (binary(0.5), 0.5),
    }  # fmt: skip
    print(f"\ncoverage of 95 % intervals, {repetitions} repetitions a cell, %\n")
    print("| values | draws | " + " | ".join(f"n = {n}" for n in NUMBERS) + " |")
    print("|---|---|" + "---|" * len(NUMBERS))
    for (name, (draw, chance)), draws in itertools.product(kinds.items(), DRAWS):
        found = [100 * covered(draw, chance, n, draws, repetitions) for n in NUMBERS]
        print(f"| {name} | {draws} | " + " | ".join(f"{each:.1f}" for each in found) + " |", flush=True)


def covered(draw: Draw, chance: float | None, n: int, draws: int, repetitions: int) -> float:
    """The fraction of repetitions whose interval holds the truth."""
    hits = []
    for block in range(-(-repetitions // TOGETHER)):
        rng = np.random.default_rng([block, n, draws])
        values = draw(rng, (n, draws, TOGETHER)) + (chance or 0.0)
        sample = gather([(values.sum(axis=1), np.full((n, TOGETHER), float(draws)))])
        low, high = (
            intervals.mean_interval(sample, seed=block) if chance is None else intervals.proportion_interval(sample)
        )
        hits.append((low <= (chance or 0.0)) & ((chance or 0.0) <= high))
    return float(np.mean(hits))


def differences(repetitions: int) -> None:
    """How often any pair of nine augmentations is significant although all means are equal."""
    print(f"\nany of 36 pairs significant although all means are equal, {repetitions} repetitions a cell\n")
    print("| values | n = 20 | n = 50 | n = 200 |\n|---|---|---|---|")
    for name, draw in (("exchangeable, normal", exchangeable), ("unequal spread and skew", unequal)):
        cells = []
        for n in (20, 50, 200):
            rng = np.random.default_rng(n)
            significant = 0
            for seed in range(repetitions):
                pairs = estimates_from_values(draw(rng, n)).combine(contrasts(9))
                significant += bool(intervals.simultaneous_intervals(pairs, seed=seed).significant.any())
            cells.append(f"{significant / repetitions:.3f}")
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def ratios(repetitions: int) -> None:
    """Ratios of distances: how often a pair is significant although no ratio differs from 1, and how many are found."""
    found: dict[str, list[str]] = {}
    for n in (8, 20, 50):
        rng = np.random.default_rng(n)
        for name, residual in RESIDUALS.items():
            hits = [_found(logarithms(rng, n, residual), seed // TOGETHER) > 0 for seed in range(repetitions)]
            found.setdefault(f"a false pair: {name}", []).append(f"{np.mean(hits):.3f}")
        worlds = [logarithms(rng, n, RESIDUALS["normal"]) + np.log(DEMO) for _ in range(repetitions // 4)]
        for name, values in (("by ratio", worlds), ("by difference", [1 - np.exp(world) for world in worlds])):
            pairs = np.mean([_found(each, seed // TOGETHER) for seed, each in enumerate(values)])
            found.setdefault(f"pairs found of 36, {name}", []).append(f"{pairs:.1f}")
    print(f"\nratios of distances of nine augmentations, {repetitions} repetitions a cell, a quarter for pairs found\n")
    print("| simulation | n = 8 | n = 20 | n = 50 |\n|---|---|---|---|")
    for name, cells in found.items():
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def _found(values: np.ndarray, seed: int) -> int:
    """How many pairs of columns are significant."""
    pairs = estimates_from_values(values).paired(contrasts(values.shape[1]))
    return int(intervals.simultaneous_intervals(pairs, seed=seed, resamples=1_999).significant.sum())


def logarithms(rng: np.random.Generator, n: int, residual: Residual) -> np.ndarray:
    """Logarithms of nine distances an image, all of one mean: an effect of the image, and a residual."""
    return np.asarray(0.5 * rng.normal(size=(n, 1)) + 0.6 * residual(rng, n))


# Mean relative shifts of the nine augmentations in the demo.
DEMO = (1.163, 0.119, 0.109, 0.080, 0.054, 0.029, 0.026, 0.020, 0.006)
RESIDUALS: dict[str, Residual] = {
    "normal": lambda rng, n: rng.normal(size=(n, 9)),
    "skewed": lambda rng, n: (1 - rng.exponential(size=(n, 9))) * np.where(np.arange(9) % 2, 1, -1),
    "unequal spread": lambda rng, n: rng.normal(size=(n, 9)) * np.linspace(0.3, 3.0, 9),
    "unequal spread and skew": lambda rng, n: unequal(rng, n),
}


def rank_tests(repetitions: int) -> None:
    """How often tests of ranks reject, of the values whose means are equal: why the tables do without them."""
    print(
        f"\nrank tests at 0.05 of nine columns with equal means, unequal spread and skew, {repetitions} repetitions\n"
    )
    print("| test | n = 20 | n = 50 | n = 200 |\n|---|---|---|---|")
    cells: dict[str, list[str]] = {"Friedman": [], "Wilcoxon on 36 pairs, Holm": []}
    for n in (20, 50, 200):
        rng = np.random.default_rng(n)
        worlds = [unequal(rng, n) for _ in range(repetitions)]
        friedman = [stats.friedmanchisquare(*values.T).pvalue <= 0.05 for values in worlds]
        pairs = [values @ contrasts(9) for values in worlds]
        wilcoxon = [min(stats.wilcoxon(pair).pvalue for pair in each.T) <= 0.05 / 36 for each in pairs]
        for name, found in zip(cells, (friedman, wilcoxon), strict=True):
            cells[name].append(f"{np.mean(found):.2f}")
    for name, row in cells.items():
        print(f"| {name} | " + " | ".join(row) + " |", flush=True)


def exchangeable(rng: np.random.Generator, n: int) -> np.ndarray:
    """Nine numbers an image of one distribution, alike within an image."""
    return rng.normal(size=(n, 1)) + rng.normal(size=(n, 9))


def unequal(rng: np.random.Generator, n: int) -> np.ndarray:
    """Nine numbers an image of mean 0, whose spread grows and whose skew grows."""
    spread, skew = np.linspace(0.3, 3.0, 9), np.linspace(0.05, 1.0, 9)
    skewed = (np.exp(skew * rng.normal(size=(n, 9))) - np.exp(skew**2 / 2)) / np.exp(skew**2 / 2)
    return np.asarray(0.3 * rng.normal(size=(n, 1)) + spread * skewed / np.sqrt(np.exp(skew**2) - 1))


def baselines(repetitions: int, numbers: tuple[int, ...] = (8, 12, 20, 50, 200)) -> None:
    """Coverage of relative shifts by every kind of interval: that of the tables, and what others would do."""
    world = Shifted()
    print(f"\ncoverage of relative shifts, {repetitions} repetitions a cell, %; in brackets: intervals that reach 0\n")
    print("| change | true relative shift | interval | " + " | ".join(f"n = {n}" for n in numbers) + " |")
    print("|---|---|---|" + "---|" * len(numbers))
    hits: dict[str, list[np.ndarray]] = {}
    zeros: dict[str, list[np.ndarray]] = {}
    uppers: dict[str, list[np.ndarray]] = {}
    for n in numbers:
        covered: dict[str, list[np.ndarray]] = {}
        reached: dict[str, list[np.ndarray]] = {}
        for seed in range(repetitions):
            for kind, (low, high) in world.intervals(np.random.default_rng([seed, n]), n, seed).items():
                covered.setdefault(kind, []).append((low <= world.truth) & (world.truth <= high))
                reached.setdefault(kind, []).append(low <= 0)
                if n == numbers[0]:
                    uppers.setdefault(kind, []).append(np.log(high[:-1] / world.truth[:-1]))
        for kind, found in covered.items():
            hits.setdefault(kind, []).append(100 * np.mean(found, axis=0))
            zeros.setdefault(kind, []).append(100 * np.mean(reached[kind], axis=0))
    for column, (name, true) in enumerate(zip(CHANGES, world.truth, strict=True)):
        for kind, found in hits.items():
            cells = [f"{each[column]:.1f} [{zero[column]:.1f}]" for each, zero in zip(found, zeros[kind], strict=True)]
            print(f"| {name} | {true:.3f} | {kind} | " + " | ".join(cells) + " |", flush=True)
    print(f"\nthe upper end in multiples of the true value, n = {numbers[0]}, geometric means\n")
    print("| interval | " + " | ".join(CHANGES[:-1]) + " |\n|---|" + "---|" * len(CHANGES[:-1]))
    for kind, ends in uppers.items():
        print(f"| {kind} | " + " | ".join(f"{each:.1f}" for each in np.exp(np.mean(ends, axis=0))) + " |")


# Change → standard deviation of the logarithm of an image's amount; its distance grows with the square of the amount.
AMOUNTS = {"even amounts": 0.0, "skewed as photographs": 0.4, "strongly skewed": 0.7, "extremely skewed": 1.0}
CHANGES = (*AMOUNTS, "most far, some near", "an image from outside the set", "none")
# Dimensions of the vectors, and images that give the true values.
DIM, MANY = 64, 200_000


class Shifted:
    """Vectors in a cone, and the same changed by amounts that differ from image to image."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.scale, self.cone = np.linspace(0.3, 1.5, DIM), 1.2 * rng.normal(size=DIM)
        total, far, parts = np.zeros(DIM), np.zeros(len(CHANGES)), 20
        for _ in range(parts):
            vectors, values = self.draw(rng, MANY // parts)
            total, far = total + normalised(vectors).sum(axis=0), far + (1 - values).sum(axis=0)
        baseline = (total @ total - MANY) / (MANY * (MANY - 1))
        self.truth = far / MANY / (1 - baseline)
        self.truth[-2] = 1.0

    def draw(self, rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Vectors `[n, DIM]`, and the cosines of their views `[n, changes]`."""
        vectors, outside = (rng.normal(size=(n, DIM)) * self.scale + self.cone for _ in range(2))
        amounts = [0.3 * rng.lognormal(sigma=sigma, size=(n, 1)) for sigma in AMOUNTS.values()]
        views = [vectors + amount * rng.normal(size=vectors.shape) for amount in amounts]
        views.append(np.where(rng.random((n, 1)) < 0.25, views[0], outside))
        values = [cosine(vectors, view) for view in (*views, outside)]
        return vectors, np.stack([*values, np.ones(n)], axis=1)

    def intervals(self, rng: np.random.Generator, n: int, seed: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        vectors, values = self.draw(rng, n)
        sample = gather([(values, np.ones_like(values))], chunks=[1] * n)
        exact = cosine_pairs(normalised(vectors), np.ones(n), np.ones(n)).baseline()
        found = relative_shifts(sample, exact, 1.0, seed=seed)
        assert exact.pairs is not None
        numbers = with_exact_baseline(sample, exact.pairs, 1.0, seed=seed)
        return {
            "as in the tables": (found.low, found.high),
            "bootstrap-t": bootstrap_t(*numbers),
            "bootstrap-t of the logarithm": log_bootstrap_t(*numbers),
            "jackknife of the logarithm": log_jackknife(values, exact.pairs),
        }


def log_jackknife(values: np.ndarray, pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    """95 % intervals of relative shifts from cosines `[n, K]`, by the logarithms without each of the images."""
    every = np.ones((1, len(values)))

    def logarithms(images: np.ndarray) -> np.ndarray:
        means = images @ values / images.sum(axis=1, keepdims=True)
        return np.asarray(np.log((1 - means) / (1 - pairs.means(images)[0][:, None])))

    with np.errstate(invalid="ignore", divide="ignore"):
        low, high = intervals.jackknife_interval(logarithms(every)[0], logarithms(every - np.eye(len(values))))
    return np.exp(low), np.exp(high)


def sets(repetitions: int) -> None:
    """Coverage of intervals of numbers of whole studies; the truth is that of many images, or the mean of many sets."""
    print(f"\ncoverage of 95 % intervals, {repetitions} repetitions a cell, %; in brackets: mean of the value\n")
    print("| number | world | true value | n = 8 | n = 20 | n = 50 | n = 200 |\n|---|---|---|---|---|---|---|")
    for name, world, truth, measured in itertools.chain(_fractions(), _kept(), _ranks(), _areas(), _centred()):
        cells = []
        for n in (8, 20, 50, 200):
            found = np.array([measured(np.random.default_rng([seed, n]), n) for seed in range(repetitions)], np.float64)
            true = truth(n) if callable(truth) else truth
            held = 100 * np.mean((found[:, 1] <= true) & (true <= found[:, 2]))
            cells.append(f"{held:.1f} [{found[:, 0].mean():.4g}]")
        shown = "mean of 500 sets" if callable(truth) else f"{truth:.4g}"
        print(f"| {name} | {world} | {shown} | " + " | ".join(cells) + " |", flush=True)


SetWorld = tuple[str, str, float | Callable[[int], float], Callable[[np.random.Generator, int], tuple[float, ...]]]


def _centred() -> Iterator[SetWorld]:
    """Views of unrelated images, which are as far as other images, and views that move by amounts that differ."""
    scale, cone = np.linspace(0.3, 1.5, DIM), 1.2 * np.random.default_rng(0).normal(size=DIM)

    def draw(rng: np.random.Generator, n: int, kind: str) -> tuple[np.ndarray, np.ndarray]:
        vectors, others = (rng.normal(size=(n, DIM)) * scale + cone for _ in range(2))
        moved = vectors + 0.6 * rng.normal(size=vectors.shape) + 0.5 * cone[::-1]
        return vectors, others if kind == "another image" else moved

    for kind in ("another image", "moved, with an offset"):
        many, views = (normalised(each) for each in draw(np.random.default_rng(1), MANY // 5, kind))
        mean = many.mean(axis=0)
        together = normalised(many - mean).mean(axis=0)
        truth = 1 - cosine(many - mean, views - mean).mean()
        truth = 1.0 if kind == "another image" else float(truth / (1 - together @ together))

        def measured(rng: np.random.Generator, n: int, kind: str = kind) -> tuple[float, ...]:
            embeddings = np.stack(draw(rng, n, kind), axis=1).reshape(-1, DIM).astype(np.float32)
            columns = {"view": ["original", "a"] * n, "draw": [0] * 2 * n}
            rows = pl.DataFrame(columns | {"embedding": pl.Series(embeddings, dtype=pl.Array(pl.Float32, DIM))})
            return tuple(each.item() for each in centred_shifts(image_rows(rows.lazy()), ["a"], 0))

        yield "centred_shift", kind, truth, measured


def _ranks() -> Iterator[SetWorld]:
    fall = np.exp(-np.arange(DIM) / 8)
    worlds: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
        "normal": lambda rng, n: rng.normal(size=(n, DIM)) * fall,
        "lengths skewed": lambda rng, n: rng.normal(size=(n, DIM)) * fall * rng.lognormal(sigma=0.7, size=(n, 1)),
    }
    for name, draw in worlds.items():

        def truth(n: int, draw: Callable[[np.random.Generator, int], np.ndarray] = draw) -> float:
            return float(np.mean([effective_rank(draw(np.random.default_rng([seed, n, 1]), n)) for seed in range(500)]))

        def measured(
            rng: np.random.Generator, n: int, draw: Callable[[np.random.Generator, int], np.ndarray] = draw
        ) -> tuple[float, ...]:
            vectors = draw(rng, n + n // 8)  # not only multiples of eight
            return effective_rank(vectors), *jackknife(effective_rank, vectors)

        def of_more(n: int, truth: Callable[[int], float] = truth) -> float:
            return truth(n + n // 8)

        yield "effective_rank", f"{name}, 9n / 8 images", of_more, measured


def _areas() -> Iterator[SetWorld]:
    for sigma, amount in ((0.0, 0.75), (0.7, 0.3), (0.7, 0.45), (0.7, 1.0)):

        def measured(
            rng: np.random.Generator, n: int, sigma: float = sigma, amount: float = amount
        ) -> tuple[float, ...]:
            scale, cone = np.linspace(0.3, 1.5, 32), 0.8 * np.random.default_rng(0).normal(size=32)
            originals = rng.normal(size=(n, 32)) * scale + cone
            views = originals + amount * rng.lognormal(sigma=sigma, size=(n, 1)) * scale * rng.normal(size=(n, 32))
            sample = auc_values(cosine(originals, views)[:, None], all_pairs(originals))
            return sample.mean.item(), *(end.item() for end in auc_interval(sample))

        truth = float(np.mean([measured(np.random.default_rng([seed, 1, 1]), 3_000)[0] for seed in range(4)]))
        yield "auc", f"amounts {amount}, sigma {sigma}", truth, measured


def _kept() -> Iterator[SetWorld]:
    for mean, spread in ((0.999, 50.0), (0.98, 20.0), (0.8, 10.0)):

        def measured(rng: np.random.Generator, n: int, mean: float = mean, spread: float = spread) -> tuple[float, ...]:
            chances = rng.beta(spread * mean, spread * (1 - mean), n)
            columns = {
                "image_id": [*map(str, range(n))],
                "rank": [1] * n,
                "knn_overlap": rng.binomial(10, chances) / 10,
            }
            return recall_metrics(pl.DataFrame(columns), seed=0)["knn_overlap@10"][1:]

        yield "knn_overlap@10", f"mean {mean}", mean, measured


def _fractions() -> Iterator[SetWorld]:
    """Two draws an image; exponential values are as skewed as amounts of photographs, lognormal ones more."""
    laws: dict[str, Callable[[np.random.Generator, tuple[int, int]], np.ndarray]] = {
        "normal": lambda rng, shape: rng.normal(size=shape),
        "exponential": lambda rng, shape: rng.exponential(size=shape) - 1,
        "lognormal": lambda rng, shape: (rng.lognormal(sigma=0.8, size=shape) - np.exp(0.32)) / 1.304,
    }
    for (name, law), image in itertools.product(laws.items(), (0.5, 0.9)):

        def measured(
            rng: np.random.Generator,
            n: int,
            law: Callable[[np.random.Generator, tuple[int, int]], np.ndarray] = law,
            image: float = image,
        ) -> tuple[float, ...]:
            values = np.sqrt(image) * law(rng, (n, 1)) + np.sqrt(1 - image) * law(rng, (n, 5))
            sums, means = values.sum(axis=1), values.mean(axis=1)
            within = ((values - means[:, None]) ** 2).sum(axis=1)
            numbers = np.stack([np.ones(n), np.full(n, 5.0), np.full(n, 25.0), sums, sums * means, within], axis=1)
            sample = gather([(numbers, np.ones(numbers.shape))], together=False, chunks=[1] * n)
            return tuple(each.item() for each in split(sample))

        yield "fraction between images", name, image, measured


PARTS: dict[str, Callable[[int], None]] = {
    "means": means, "differences": differences, "ratios": ratios, "relative_shifts": baselines, "ranks": rank_tests,
    "sets": sets,
}  # fmt: skip
# Of the repetitions that are asked for.
TAKEN = {"means": 1.0, "differences": 0.25, "ratios": 0.25, "relative_shifts": 0.25, "ranks": 0.04, "sets": 0.075}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--repetitions",
        type=int,
        default=4_000,
        help="differences, ratios and relative shifts take a quarter, ranks 4 %%, sets 7.5 %%",
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    options = parser.parse_args()
    started = time.perf_counter()
    for name in options.only:
        PARTS[name](round(TAKEN[name] * options.repetitions))
    print(f"\n{describe_machine()}, {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
