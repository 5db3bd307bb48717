"""Attention metrics: whether the encoder looks at the same places."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from embedshift.arrays import Floats, Pixels, Values
from embedshift.pipeline.measure import Measure, StudyPlan, StudySwitches
from embedshift.registry import METRICS, metric
from embedshift.statistics.maps import aligned_likeness, attention_entropy, divergence, map_likeness, scaled_map

if TYPE_CHECKING:
    from embedshift.encoders.base import EncoderOutput
    from embedshift.pipeline.drawn import DrawnImage
    from embedshift.sources import ImageRef


SIMILARITY: dict[str, Any] = {"no_change": 1.0, "low": 0.5, "high": 1.0, "higher_is_better": True}
RISING: dict[str, Any] = {"no_change": 0.0, "higher_is_better": False, "optional": True}


@metric("attention similarity", "attention", **SIMILARITY)
def attention_similarity(a: ArrayLike, b: ArrayLike, size: int) -> Values:
    r"""Similarity of two attention maps (the paper's equation 6, there called "attention shift").

    .. math:: \mathrm{attn} = \frac{1}{1 + \frac{1}{mn} \sum_{i,j} (A_{ij} - A'_{ij})^2}

    A is the map brought to the size of the view (`upsample`) and then min-max scaled to [0, 1]; a constant map scales
    to zeros.

    Args:
        a: Attention on the originals `[..., g_h, g_w]`.
        b: Attention on the views `[..., g_h, g_w]`.
        size: Side S of the views, in pixels.

    Returns:
        float64 `[...]` in [0.5, 1]; 1 = no change.

    Example:
        >>> round(attention_similarity([[0.0, 1.0]], [[1.0, 0.0]], 2).item(), 3)
        0.5
    """
    return map_likeness(a, b, size)


@metric("rollout similarity", "rollout", **SIMILARITY, optional=True)
def rollout_similarity(a: ArrayLike, b: ArrayLike, size: int) -> Values:
    r"""Similarity of two attention rollout maps, which multiply the attention of all layers (Abnar and Zuidema 2020).

    .. math:: R_l = \mathrm{rows}(\tfrac{1}{2} (A_l + I)) \, R_{l-1}, \quad R_0 = I

    with A the mean over heads, and rows scaled to a sum of 1. The map is the class token's row of the last R; without a
    class token the pooling head's weights times R, else the mean of all rows. The two maps are compared as in
    `attention_similarity`.

    Args:
        a: Rolled-out attention on the originals `[..., g_h, g_w]`.
        b: Rolled-out attention on the views `[..., g_h, g_w]`.
        size: Side S of the views, in pixels.

    Returns:
        float64 `[...]` in [0.5, 1]; 1 = no change.

    Example:
        >>> rollout_similarity([[0.0, 1.0]], [[0.0, 1.0]], 2).item()
        1.0
    """
    return map_likeness(a, b, size)


@metric("aligned attention similarity", "aligned", **SIMILARITY, optional=True)
def aligned_attention_similarity(a: ArrayLike, b: ArrayLike) -> Values:
    """Similarity of two attention maps, after moving the original's map in the same way as the view.

    It is `attention_similarity` over the part of the view that shows the original. Pixels outside that part do not
    count, and both maps are scaled to [0, 1] over that part alone. A part smaller than `LEAST_OVERLAP` of the view is
    too small to compare.

    Args:
        a: Attention on the originals from `scaled_map`, moved, NaN where the view shows nothing of the original,
            `[..., S, S]`.
        b: Attention on the views from `scaled_map`, `[..., S, S]`.

    Returns:
        float64 `[...]` in [0.5, 1]; 1 = the attention moved with the image; NaN if less than a tenth of the pixels can
        be compared.

    Example:
        >>> aligned_attention_similarity([[np.nan, 0.0, 0.5]], [[1.0, 0.2, 0.6]]).item()
        1.0
    """
    return aligned_likeness(a, b)


@metric("attention entropy rise, nats", "attention", **RISING, low=-math.inf, high=math.inf, unit="nats")
def attention_entropy_rise(a: ArrayLike, b: ArrayLike, size: int) -> Values:
    r"""Entropy of the view's attention map minus that of the original's: above 0, attention is more spread out.

    .. math:: H(A') - H(A), \quad H(A) = -\sum_k p_k \ln p_k, \quad p_k = A_k / \sum_j A_j

    Args:
        a: Attention on the originals `[..., g_h, g_w]`.
        b: Attention on the views `[..., g_h, g_w]`.
        size: Not used: the map is taken as it is.

    Returns:
        float64 `[...]` in nats, from -ln(g_h g_w) to ln(g_h g_w); 0 = no change; NaN for a map of zeros.

    Example:
        >>> round(attention_entropy_rise([[0.0, 1.0]], [[0.5, 0.5]], 2).item(), 3)
        0.693
    """
    return np.asarray(attention_entropy(b) - attention_entropy(a))


@metric("attention divergence, bits", "attention", **RISING, low=0.0, high=1.0, unit="bits")
def attention_divergence(a: ArrayLike, b: ArrayLike, size: int) -> Values:
    r"""Jensen-Shannon divergence between two attention maps, as distributions over the patches.

    .. math:: \tfrac{1}{2} \mathrm{KL}(p \| m) + \tfrac{1}{2} \mathrm{KL}(q \| m), \quad m = \tfrac{1}{2} (p + q)

    with logarithms of base 2, and p and q the maps brought to a sum of 1.

    Args:
        a: Attention on the originals `[..., g_h, g_w]`.
        b: Attention on the views `[..., g_h, g_w]`.
        size: Not used: the maps are taken as they are.

    Returns:
        float64 `[...]` in bits, in [0, 1]; 0 = no change, 1 = no patch in common; NaN for a map of zeros.

    Example:
        >>> attention_divergence([[0.0, 1.0]], [[1.0, 0.0]], 2).item()
        1.0
    """
    return divergence(a, b)


class MEASURE(Measure):
    def __init__(self, study: StudySwitches) -> None:
        super().__init__(study)
        if study.config.store == "metrics":
            # Without stored maps, claims about the spread of attention are tested on this metric.
            self.metrics = tuple(dict.fromkeys((*self.metrics, "attention_entropy_rise")))

    @property
    def observations(self) -> Sequence[str]:
        return ("rollout",) if self.needing("rollout") else ()

    def of_output(self, image: "DrawnImage", output: "EncoderOutput", plan: StudyPlan) -> dict[str, Values]:
        values = self._unaligned(output, plan)
        if output.attention is not None:
            values |= {name: _aligned(name, image, output.attention, plan) for name in self.needing("aligned")}
        return values

    def of_pair(
        self, views: Pixels, output: "EncoderOutput", samples: "Sequence[ImageRef]", plan: StudyPlan
    ) -> dict[str, float]:
        """Compares the maps of two images; different images share no motion, so that no map is moved."""
        values = self._unaligned(output, plan)
        if output.attention is not None and (names := self.needing("aligned")):
            first, second = scaled_map(output.attention, plan.encoder.size)
            values |= {name: METRICS[name].function(first, second[None]) for name in names}
        return {name: float(value[0]) for name, value in values.items()}

    def _unaligned(self, output: "EncoderOutput", plan: StudyPlan) -> dict[str, Values]:
        size, values = plan.encoder.size, dict[str, Values]()
        for need, maps in (("attention", output.attention), ("rollout", output.rollout)):
            if maps is not None:
                values |= {name: METRICS[name].function(maps[:1], maps[1:], size) for name in self.needing(need)}
        return values


def _aligned(name: str, image: "DrawnImage", maps: Floats, plan: StudyPlan) -> Values:
    """Returns a metric of the views' maps and the original's map, moved as each view was; `[A * draws]`."""
    before, augmentations = scaled_map(maps[0], plan.encoder.size), [*plan.suite] * plan.config.draws
    drawn = zip(augmentations, image.seeds[1:], strict=True)
    moved = (image.canvas.warp(augmentation, before, seed) for augmentation, seed in drawn)
    after = (scaled_map(view, plan.encoder.size) for view in maps[1:])
    return np.array([METRICS[name].function(a, b) for a, b in zip(moved, after, strict=True)])
