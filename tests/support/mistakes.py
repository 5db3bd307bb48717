"""Mistakes that are easily made: what → the metric, and the wrong function, which its check must refuse."""

import numpy as np

from embedshift.questions.text.measure import zero_shot_margin
from embedshift.registry import METRICS

WRONG = {
    "cosine of a zero vector is 0": (
        "cosine_similarity",
        lambda u, v: np.nan_to_num(METRICS["cosine_similarity"].function(u, v)),
    ),
    "cosine in float16": (
        "cosine_similarity",
        lambda u, v: METRICS["cosine_similarity"].function(np.asarray(u, np.float16), np.asarray(v, np.float16)),
    ),
    "distance of normalised vectors": (
        "l2_distance",
        lambda u, v: np.sqrt(np.maximum(0, 2 - 2 * METRICS["cosine_similarity"].function(u, v))),
    ),
    "distance in the input's dtype": (
        "l2_distance",
        lambda u, v: np.linalg.norm(np.asarray(u) - np.asarray(v), axis=-1).astype(np.float64),
    ),
    "attention without upsampling": (
        "attention_similarity",
        lambda a, b, size: METRICS["attention_similarity"].function(a, b, np.asarray(a).shape[-1]),
    ),
    "entropy of the map as it is": (
        "attention_entropy_rise",
        lambda a, b, size: -np.sum(b * np.log(b), axis=(-2, -1)) + np.sum(a * np.log(a), axis=(-2, -1)),
    ),
    "divergence in nats": (
        "attention_divergence",
        lambda a, b, size: METRICS["attention_divergence"].function(a, b, size) * np.log(2),
    ),
    "aligned without its mask": (
        "aligned_attention_similarity",
        lambda a, b: METRICS["aligned_attention_similarity"].function(np.nan_to_num(a), b),
    ),
    "the other way round": ("text_alignment_shift", lambda u, v, t: METRICS["text_alignment_shift"].function(v, u, t)),
    "classes by their lengths": (
        "zero_shot_flip",
        lambda u, v, t: (np.argmax(u @ np.transpose(t), -1) != np.argmax(v @ np.transpose(t), -1)).astype(float),
    ),
    "the lead of the view's own class": (
        "zero_shot_margin_shift",
        lambda u, v, t: -zero_shot_margin(u, u, t) + zero_shot_margin(v, v, t),
    ),
    "wrapping integers": ("patch_similarity", METRICS["patch_similarity_uint8"].function),
    "channels in the wrong order": (
        "edge_preservation",
        lambda o, a: METRICS["edge_preservation"].function(o[..., ::-1], a[..., ::-1]),
    ),
    "detail the other way round": ("detail_preservation", lambda o, a: METRICS["detail_preservation"].function(a, o)),
    **{
        f"aligned without its mask: {name}": (
            name, lambda o, a, name=name: METRICS[name].function(np.where(np.isnan(o), 0.0, o), a)
        )
        for name in ("aligned_patch_similarity", "aligned_edge_preservation", "aligned_detail_preservation")
    },
    "differences that wrap": (
        "rms",
        lambda o, a: np.sqrt(((o - a).astype(float) ** 2).mean(axis=(-3, -2, -1))) / 255,
    ),
    "structure of red alone": (
        "dissimilarity",
        lambda o, a: METRICS["dissimilarity"].function(o[..., :1].repeat(3, -1), a[..., :1].repeat(3, -1)),
    ),
    "pixels from outside have moved": (
        "displacement",
        lambda source: np.sqrt(
            np.square(source - np.stack(np.meshgrid(*2 * [np.arange(12.0)]), axis=2)).sum(-1).mean((-2, -1))
        ) / 12,
    ),
    "what is still there": ("hidden", lambda covered: 1 - METRICS["hidden"].function(covered)),
}  # fmt: skip
