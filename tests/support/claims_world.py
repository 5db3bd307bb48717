"""Records whose truth is known: the world as the paper describes it, and any other; trees read by SciPy."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from scipy.cluster.hierarchy import fcluster, linkage, to_tree

from embedshift.arrays import Values
from embedshift.augmentations.paper import PAPER
from embedshift.questions.claims.tables import claims
from embedshift.statistics.baselines import Baseline, Pairs
from embedshift.statistics.layout import image_rows

NAMES = list(PAPER)
COLOR = ["blur", "coarse_dropout", "color_jitter"]
GEOMETRIC = ["shift_scale_rotate", "perspective"]
LEAST = ["brightness_contrast", "horizontal_flip", "elastic"]
METRICS = ["l2_distance", "cosine_similarity", "attention_similarity", "edge_preservation", "detail_preservation"]
# Two that came later: what is drawn for the others stays as it was.
LATER = ["patch_similarity", "aligned_detail_preservation"]

# The world as the paper describes it: mean and sd per metric and augmentation.
L2 = {"noise": 10, "perspective": 7, "shift_scale_rotate": 6.5, "coarse_dropout": 5.2, "blur": 5, "color_jitter": 4.8}
L2 |= {"horizontal_flip": 1.2, "brightness_contrast": 1, "elastic": 0.8}
ATTENTION = dict.fromkeys(NAMES, 0.95) | {"noise": 0.8, "perspective": 0.85, "blur": 0.86, "shift_scale_rotate": 0.87}
COSINE = {name: 1 - value / 20 for name, value in L2.items()}
SD = dict.fromkeys(NAMES, 0.1) | dict.fromkeys(COLOR, 0.3)
# Entropy rises with the temperature of the attention map; the original's is 1.
TEMPERATURE = dict.fromkeys(NAMES, 1.0) | {"blur": 2.0, "shift_scale_rotate": 2.0, "perspective": 2.0}


# Metric → augmentation → value; and two augmentations.
Of = Mapping[str, Mapping[str, float]]
Pair = Collection[str]


def paper_tree() -> dict[frozenset[str], float]:
    """Distances: noise far from all, perspective beside shift_scale_rotate, blur near both."""
    far = {frozenset((a, b)): 0.3 for a in NAMES for b in NAMES if a != b}
    far |= {pair: 1.0 for pair in far if "noise" in pair}
    far |= {frozenset((name, "blur")): 0.15 for name in GEOMETRIC}
    return far | {frozenset(GEOMETRIC): 0.1}


def clusters(distances: Values) -> tuple[Any, Any]:
    """The ward tree of 36 distances, and the cluster of each augmentation."""
    tree = linkage(distances, "ward")
    return tree, fcluster(tree, 0.7 * tree[:, 2].max(), "distance")


def noise_alone(distances: Values) -> bool:
    """Noise is a cluster and the other eight are one."""
    _, found = clusters(distances)
    return NAMES[0] == "noise" and len(set(found[1:])) == 1 and found[0] not in found[1:]


def branch_inside(distances: Values, names: Sequence[str]) -> bool:
    """`names` are a branch within a larger cluster that does not hold noise."""
    tree, found = clusters(distances)
    wanted = {NAMES.index(name) for name in names}
    _, nodes = to_tree(tree, rd=True)
    branch = any(set(node.pre_order()) == wanted for node in nodes)
    cluster = {i for i in range(9) if found[i] == found[NAMES.index(names[0])]}
    return branch and wanted < cluster and 0 not in cluster


def world(
    images: int = 40,
    draws: int = 1,
    means: Of | None = None,
    sds: Of | None = None,
    distances: Mapping[Pair, float] | None = None,
    distance_sd: Mapping[Pair, float] | None = None,
    temperature: Mapping[str, float] | None = None,
    seed: int = 0,
) -> pl.LazyFrame:
    """Records whose sample means and sds are exactly the given ones: `means["l2_distance"]["blur"] = 12` and so on."""
    base = {"l2_distance": L2, "cosine_similarity": COSINE, "attention_similarity": ATTENTION}
    base |= {"edge_preservation": COSINE, "detail_preservation": COSINE | {"horizontal_flip": 0.1}}
    base |= dict.fromkeys(LATER, COSINE)
    measured = [*METRICS, *LATER]
    mean = {metric: base[metric] | dict((means or {}).get(metric, {})) for metric in measured}
    spread = {
        metric: {n: SD[n] if metric == "l2_distance" else SD[n] / 20 for n in NAMES} | dict((sds or {}).get(metric, {}))
        for metric in measured
    }
    rng = np.random.default_rng(seed)

    def drawn(mean: float, sd: float, rng: np.random.Generator = rng) -> np.ndarray:
        values = rng.normal(size=images * draws)
        if len(values) > 1:
            values = (values - values.mean()) / values.std(ddof=1)
        return mean + sd * values

    far = paper_tree() | {frozenset(k): v for k, v in (distances or {}).items()}
    wobble = {frozenset(k): v for k, v in (distance_sd or {}).items()}
    pairs = [frozenset((a, b)) for i, a in enumerate(NAMES) for b in NAMES[i + 1 :]]
    lists = np.stack([drawn(far[p], wobble.get(p, 0.002)) for p in pairs], axis=1).reshape(images, -1)
    logits = rng.normal(size=(images, 1, 9)) * 2
    views, columns = NAMES * draws, dict[str, np.ndarray]()
    for metrics, source in ((METRICS, rng), (LATER, np.random.default_rng([seed, 1]))):
        for m in metrics:
            values = [drawn(mean[m][n], spread[m][n], source).reshape(images, draws) for n in NAMES]
            columns[m] = np.insert(np.stack(values, axis=2).reshape(images, -1), 0, np.nan, axis=1).ravel()
    heat = TEMPERATURE | dict(temperature or {})
    warm = np.array([heat[view] for view in views]) * np.exp(rng.normal(size=(images, len(views))) * 0.05)
    weights = np.exp(logits / np.insert(warm, 0, 1.0, axis=1)[:, :, None])
    maps = (0.5 * weights / weights.sum(axis=2, keepdims=True)).astype(np.float32)
    pairwise = [each for row in lists.tolist() for each in (row, *[None] * len(views))]
    rows = {
        "image_id": np.repeat([f"{i:03d}.jpg" for i in range(images)], 1 + len(views)).tolist(),
        "view": ["original", *views] * images,
        "draw": [0, *np.repeat(np.arange(draws), len(NAMES)).tolist()] * images,
        **columns,
        "attention": maps.reshape(-1, 9),
        "pairwise": pl.Series(pairwise, dtype=pl.List(pl.Float32)),
    }
    return pl.DataFrame(rows).fill_nan(None).lazy()


def baseline(images: int, mean: float = 0.55) -> Baseline | None:
    """Cosines of all pairs of different images whose mean is exactly the given one; None for one image."""
    if images < 2:
        return None
    noise = np.random.default_rng(images).normal(size=(images, images)) * 0.05
    cosines, pairs = noise + noise.T, np.ones((images, images)) - np.eye(images)
    cosines = (cosines - (cosines * pairs).sum() / pairs.sum() + mean) * pairs
    return Pairs(cosines, pairs, np.ones(images)).baseline()


def table_of(rows: pl.LazyFrame, names: Sequence[str] = NAMES, resamples: int = 4_999) -> pl.DataFrame:
    """The claims on these records and as many images of which each two have a cosine around 0.55."""
    images = rows.filter(pl.col("view") == "original").select("image_id").collect()["image_id"].n_unique()
    return claims(image_rows(rows), names, seed=0, resamples=resamples, baseline=baseline(images))
