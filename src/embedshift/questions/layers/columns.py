"""The columns of a study with layers."""

TOKENS = ("cls", "patches")
COMPARED = ("cosine_similarity", "l2_distance")


def column(metric: str, token: str) -> str:
    """The column of the records that holds a metric of a token.

    Example:
        >>> column("l2_distance", "cls")
        'layer_l2_cls'
    """
    return f"layer_{metric.split('_')[0]}_{token}"
