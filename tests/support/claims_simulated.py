"""Images drawn from worlds whose truth is known, as the claims read them: for rates of right and wrong verdicts."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from embedshift.arrays import Values
from embedshift.augmentations.paper import PAPER
from embedshift.questions.claims.evidence import ENTROPY_AUGMENTATIONS, MEAN_METRICS, Block, Key, distance
from support.claims_world import COLOR, GEOMETRIC, LATER, LEAST, paper_tree

NAMES = list(PAPER)
PAIRS = list(itertools.combinations(NAMES, 2))
# The most changed group first: as the abstract orders the augmentations, as section 4 does, and by attention.
ABSTRACT = [["noise"], GEOMETRIC, COLOR, LEAST]
SECTION_4 = [["noise"], [*COLOR, "shift_scale_rotate"], ["perspective"], LEAST]
BY_ATTENTION = [["noise"], list(ENTROPY_AUGMENTATIONS), ["coarse_dropout", "color_jitter", *LEAST]]
# The smallest gap between distances that a claim on the tree turns on, in `paper_tree`.
TREE_GAP = 0.05

# What is true of means in `ordered`, whichever reading of claim 5 is by which metric; and of the rest.
OF_MEANS = ("1a", "1b", "4a", "4b", "6c", "6d", "8a", "8b", "9a", "9b", "10a", "10b", "10c")
OF_THE_REST = ("2a", "3a", "3b", "6a", "6b", "7a", "7b", "7c", "12a", "12b")
READINGS = (("5a", "5c", "5f"), ("5b", "5d", "5e"))


def standard(rng: np.random.Generator, images: int, skew: float) -> Values:
    """One number per image, mean 0 and sd 1: normal, or lognormal with a log sd of |skew|, turned where it is < 0."""
    normal = rng.standard_normal(images)
    if skew == 0:
        return normal
    spread = np.exp(skew**2)
    return np.asarray(np.sign(skew) * (np.exp(abs(skew) * normal) - np.sqrt(spread)) / np.sqrt(spread * (spread - 1)))


def drawn(
    rng: np.random.Generator,
    images: int,
    keys: Sequence[Key],
    means: Mapping[Key, float],
    sds: Mapping[Key, float],
    skews: Mapping[Key, float],
) -> dict[Key, Values]:
    """Values `[images, 1]` of numbers that share what an image adds to each."""
    image = rng.standard_normal(images)
    return {
        key: (means.get(key, 0.0) + image + sds.get(key, 1.0) * standard(rng, images, skews.get(key, 0.0)))[:, None]
        for key in keys
    }


def quantities() -> list[list[Key]]:
    """The keys of all numbers, by metric, then those of distances and of entropy rises."""
    of_metrics: list[list[Key]] = [[(metric, name) for name in NAMES] for metric in MEAN_METRICS]
    return [
        *of_metrics,
        [distance(*pair) for pair in PAIRS],
        [("entropy_rise", name) for name in ENTROPY_AUGMENTATIONS],
    ]


def exchangeable(images: int, seed: int) -> Block:
    """All nine augmentations are drawn from one skewed law, by every metric: no claim is true."""
    return _of_equal_means(images, seed, dict.fromkeys(NAMES, 1.0), dict.fromkeys(NAMES, 0.8))


def unequal(images: int, seed: int) -> Block:
    """Equal means, spreads from 0.5 to 2 with the colour group's the largest, skews of both signs."""
    order = [*LEAST, *GEOMETRIC, "noise", *COLOR]
    sds, skews = dict(zip(order, np.linspace(0.5, 2.0, 9), strict=True)), dict(zip(order, [0, 1, -1] * 3, strict=True))
    return _of_equal_means(images, seed, sds, skews)


def _of_equal_means(images: int, seed: int, sds: Mapping[str, float], skews: Mapping[str, float]) -> Block:
    rng, found = np.random.default_rng(seed), dict[Key, Values]()
    for keys in quantities():
        found |= drawn(rng, images, keys, {}, {k: sds[k[-1]] for k in keys}, {k: skews[k[-1]] for k in keys})
    return _with_rises(found, rng, images, 0.0, dict.fromkeys(ENTROPY_AUGMENTATIONS, 0.8))


def ordered(images: int, seed: int, by: float) -> Block:
    """The paper's world: what claims say of means is true by `by` sd of the paired differences, or more.

    Spreads of the colour group are 1 + `by` times the others'; the tree is true by `by` sd; even seeds follow the
    abstract by L2 distance and section 4 by cosine similarity, odd ones the other way round.
    """
    rng = np.random.default_rng(seed)
    sds = dict.fromkeys(NAMES, 1.0) | dict.fromkeys(COLOR, 1 + by)
    readings = (ABSTRACT, SECTION_4) if seed % 2 == 0 else (SECTION_4, ABSTRACT)
    change = dict(zip(("l2_distance", "cosine_similarity"), (levels(each, sds, by) for each in readings), strict=True))
    change["attention_similarity"] = levels(BY_ATTENTION, sds, by)
    change["edge_preservation"] = change["cosine_similarity"]
    change["detail_preservation"] = change["cosine_similarity"] | {"horizontal_flip": 4 * 2 * by}
    found: dict[Key, Values] = {}
    for metric, of in change.items():
        sign = 1 if metric == "l2_distance" else -1
        keys: list[Key] = [(metric, name) for name in NAMES]
        found |= drawn(rng, images, keys, {k: sign * of[k[1]] for k in keys}, {k: sds[k[1]] for k in keys}, {})
    later: list[Key] = [(metric, name) for metric in LATER for name in NAMES]
    means = {key: -change["cosine_similarity"][key[1]] for key in later}
    found |= drawn(np.random.default_rng([seed, 1]), images, later, means, {}, {})
    scale = by * np.sqrt(2) / TREE_GAP
    tree = {distance(*sorted(pair)): scale * far for pair, far in paper_tree().items()}
    found |= drawn(rng, images, list(tree), tree, {}, {})
    return _with_rises(found, rng, images, by, {})


def levels(groups: Sequence[Sequence[str]], sds: Mapping[str, float], by: float) -> dict[str, float]:
    """Mean change of each augmentation: groups are apart by `by` sd of the paired difference that varies most."""
    found: dict[str, float] = {}
    level = 0.0
    for above, below in itertools.pairwise([*groups, []]):
        found |= dict.fromkeys(above, level)
        level -= by * max((np.hypot(sds[one], sds[other]) for one in above for other in below), default=0.0)
    return found


def _with_rises(
    found: dict[Key, Values], rng: np.random.Generator, images: int, mean: float, skews: Mapping[str, float]
) -> Block:
    """Entropy rises, which are differences already."""
    rises = {
        ("entropy_rise", n): (mean + standard(rng, images, skews.get(n, 0.0)))[:, None] for n in ENTROPY_AUGMENTATIONS
    }
    return found | rises


def true_claims(seed: int) -> tuple[str, ...]:
    """The claims on means that are true in `ordered`."""
    return (*OF_MEANS, *READINGS[seed % 2])
