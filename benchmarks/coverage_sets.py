"""Coverage of intervals of numbers of whole studies; a part of `coverage.py`.

The truth is that of many images; of effective ranks, which depend on their number, the mean of 500 sets. Views of
"another image" are as far as other images. Of fractions between images there are five draws an image; exponential
values are as skewed as amounts of photographs, lognormal ones more.
"""

import functools
import itertools
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import polars as pl

from embedshift.arrays import Values
from embedshift.questions.direction.tables import centred_shifts
from embedshift.questions.geometry.tables import effective_rank, jackknife
from embedshift.questions.search.matching import auc_interval, auc_values, recall_metrics
from embedshift.questions.variance.tables import split
from embedshift.statistics.layout import image_rows
from embedshift.statistics.sample import gather
from embedshift.statistics.thresholds import all_pairs
from embedshift.statistics.vectors import cosine, normalised
from simulated import Cone, holds, print_rates, print_sizes

DIM, SIZES = 64, (8, 20, 50, 200)
CONE, SMALL = Cone(DIM), Cone(32, 0.8)
Generator = np.random.Generator
# What is measured of n images: a value and its interval.
Measured = Callable[[Generator, int], tuple[float, ...]]
SetWorld = tuple[str, str, float | Callable[[int], float], Measured]


def sets(repetitions: int) -> None:
    """Centred shifts, effective ranks, areas under the curve, kept neighbours, and the split of a variance."""
    print_sizes("number", "world", "true value", sizes=SIZES)
    for name, world, truth, measured in itertools.chain(fractions(), kept(), ranks(), areas(), centred()):

        def hit(
            rng: Generator, n: int, seed: int, truth: float | Callable[[int], float] = truth, of: Measured = measured
        ) -> Values:
            _, low, high = of(rng, n)
            return holds(low, high, truth(n) if callable(truth) else truth)

        shown = "mean of 500 sets" if callable(truth) else f"{truth:.4g}"
        print_rates([(name, world, shown)], hit, SIZES, repetitions)


def moved(rng: Generator, n: int, kind: str) -> tuple[Values, Values]:
    vectors, others = CONE.draw(rng, n), CONE.draw(rng, n)
    away = vectors + 0.6 * rng.normal(size=vectors.shape) + 0.5 * CONE.middle[::-1]
    return vectors, others if kind == "another image" else away


def centred_shift(kind: str, rng: Generator, n: int) -> tuple[float, ...]:
    embeddings = np.stack(moved(rng, n, kind), axis=1).reshape(-1, DIM).astype(np.float32)
    columns = {"view": ["original", "a"] * n, "draw": [0] * 2 * n}
    rows = pl.DataFrame(columns | {"embedding": pl.Series(embeddings, dtype=pl.Array(pl.Float32, DIM))})
    return tuple(each.item() for each in centred_shifts(image_rows(rows.lazy()), ["a"], 0))


def centred() -> Iterator[SetWorld]:
    many, views = (normalised(each) for each in moved(np.random.default_rng(1), 40_000, "moved"))
    mean = many.mean(axis=0)
    together = normalised(many - mean).mean(axis=0)
    truth = (1 - cosine(many - mean, views - mean).mean()) / (1 - together @ together)
    for kind, true in (("another image", 1.0), ("moved, with an offset", float(truth))):
        yield "centred_shift", kind, true, partial(centred_shift, kind)


def ranks() -> Iterator[SetWorld]:
    def draw(sigma: float, rng: Generator, n: int) -> Values:
        """Not only multiples of eight images."""
        count = n + n // 8
        lengths = rng.lognormal(sigma=sigma, size=(count, 1))
        return np.asarray(rng.normal(size=(count, DIM)) * np.exp(-np.arange(DIM) / 8) * lengths)

    @functools.cache
    def truth(sigma: float, n: int) -> float:
        return float(np.mean([effective_rank(draw(sigma, np.random.default_rng([k, n, 1]), n)) for k in range(500)]))

    def measured(sigma: float, rng: Generator, n: int) -> tuple[float, ...]:
        vectors = draw(sigma, rng, n)
        return effective_rank(vectors), *jackknife(effective_rank, vectors)

    for name, sigma in (("normal", 0.0), ("lengths skewed", 0.7)):
        yield "effective_rank", f"{name}, 9n / 8 images", partial(truth, sigma), partial(measured, sigma)


def areas() -> Iterator[SetWorld]:
    def measured(sigma: float, amount: float, rng: Generator, n: int) -> tuple[float, ...]:
        originals = SMALL.draw(rng, n)
        away = rng.lognormal(sigma=sigma, size=(n, 1)) * SMALL.scale * rng.normal(size=(n, 32))
        sample = auc_values(cosine(originals, originals + amount * away)[:, None], all_pairs(originals))
        return sample.mean.item(), *(end.item() for end in auc_interval(sample))

    for sigma, amount in ((0.0, 0.75), (0.7, 0.3), (0.7, 0.45), (0.7, 1.0)):
        of = partial(measured, sigma, amount)
        truth = float(np.mean([of(np.random.default_rng([seed, 1, 1]), 3_000)[0] for seed in range(4)]))
        yield "auc", f"amounts {amount}, sigma {sigma}", truth, of


def kept() -> Iterator[SetWorld]:
    def measured(mean: float, spread: float, rng: Generator, n: int) -> tuple[float, ...]:
        overlap = rng.binomial(10, rng.beta(spread * mean, spread * (1 - mean), n)) / 10
        table = pl.DataFrame({"image_id": [*map(str, range(n))], "rank": [1] * n, "knn_overlap": overlap})
        return recall_metrics(table, seed=0)["knn_overlap@10"][1:]

    for mean, spread in ((0.999, 50.0), (0.98, 20.0), (0.8, 10.0)):
        yield "knn_overlap@10", f"mean {mean}", mean, partial(measured, mean, spread)


def fractions() -> Iterator[SetWorld]:
    laws: dict[str, Callable[[Generator, tuple[int, int]], Values]] = {
        "normal": lambda rng, shape: rng.normal(size=shape),
        "exponential": lambda rng, shape: rng.exponential(size=shape) - 1,
        "lognormal": lambda rng, shape: (rng.lognormal(sigma=0.8, size=shape) - np.exp(0.32)) / 1.304,
    }

    def measured(law: str, image: float, rng: Generator, n: int) -> tuple[float, ...]:
        values = np.sqrt(image) * laws[law](rng, (n, 1)) + np.sqrt(1 - image) * laws[law](rng, (n, 5))
        sums, means = values.sum(axis=1), values.mean(axis=1)
        within = ((values - means[:, None]) ** 2).sum(axis=1)
        numbers = np.stack([np.ones(n), np.full(n, 5.0), np.full(n, 25.0), sums, sums * means, within], axis=1)
        sample = gather([(numbers, np.ones(numbers.shape))], together=False, chunks=[1] * n)
        return tuple(each.item() for each in split(sample))

    for law, image in itertools.product(laws, (0.5, 0.9)):
        yield "fraction between images", f"{law} {image}", image, partial(measured, law, image)
