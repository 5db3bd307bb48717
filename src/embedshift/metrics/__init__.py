"""The metrics: pure functions on arrays, batch first, no model, no files, no plots.

Every metric is registered in `METRICS` under its column name, with what a reader needs to understand its number.
"""

from collections.abc import Sequence

from embedshift.metrics import attention, embedding, pixels, text
from embedshift.metrics.base import METRICS, Metric

__all__ = [
    "METRICS",
    "PAPER_METRICS",
    "RADAR_METRICS",
    "Metric",
    "asked_for",
    "attention",
    "embedding",
    "pixels",
    "text",
]

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


def asked_for(names: Sequence[str]) -> tuple[str, ...]:
    """The columns of a study: the paper's metrics, then the optional ones that `names` asks for.

    Args:
        names: Metrics, or families, each of which stands for all its optional metrics.

    Raises:
        EmbedshiftError: for an unknown name (exit code 2).

    Example:
        >>> asked_for(["attention", "cosine_similarity"])[6:]
        ('attention_entropy_rise', 'attention_divergence')
    """
    optional = [name for name in METRICS if METRICS[name].optional and METRICS[name].option == "--metrics"]
    families: dict[str, list[str]] = {}
    for name in optional:
        families.setdefault(METRICS[name].family, []).append(name)
    wanted = [metric for name in names for metric in families.get(name) or [METRICS[name].name]]
    return tuple(dict.fromkeys((*PAPER_METRICS, *wanted)))
