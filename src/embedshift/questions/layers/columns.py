"""The columns of a study with layers, and their values for no change."""

TOKENS = ("cls", "patches")
COMPARED = ("cosine_similarity", "l2_distance")
# 1 - cosine at or below it is rounding of float32, and no change.
UNMOVED = 1e-6


def column(metric: str, token: str) -> str:
    return f"layer_{metric.split('_')[0]}_{token}"
