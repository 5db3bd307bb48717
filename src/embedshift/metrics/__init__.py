"""The metrics: pure functions on arrays, batch first, no model, no files, no plots.

Every metric is registered in `METRICS` under its column name, with what a reader needs to understand its number.
"""

from embedshift.metrics import attention, embedding, pixels
from embedshift.metrics.base import METRICS, Metric

__all__ = ["METRICS", "PAPER_METRICS", "RADAR_METRICS", "Metric", "attention", "embedding", "pixels"]

# The paper's order, which tables and figures keep.
PAPER_METRICS = (
    "cosine_similarity",
    "l2_distance",
    "attention_similarity",
    "patch_similarity",
    "edge_preservation",
    "detail_preservation",
)
RADAR_METRICS = tuple(name for name in PAPER_METRICS if METRICS[name].higher_is_better)
