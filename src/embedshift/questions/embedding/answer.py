"""The answer in three sentences, from the tables alone."""

import polars as pl
from markupsafe import Markup

from embedshift.config import Json
from embedshift.report.numbers import count, decimals, fixed

Row = Json


def answer(summary: pl.DataFrame, encoder: str, images: int) -> list[Markup]:
    """Which augmentations move the embedding most and least, by how much, and whether that is settled.

    Args:
        summary: As `Study.summary`.
        encoder: What the encoder is called.
        images: Number of images measured.

    Returns:
        Three sentences (fewer where there is nothing to compare), as HTML with every name escaped.

    Example:
        >>> table = pl.DataFrame({"augmentation": ["noise", "flip"] * 2, "n": [9] * 4, "mean": [0.5, 0.97, 40.0, 8.0],
        ...     "metric": ["cosine_similarity"] * 2 + ["l2_distance"] * 2,
        ...     "ci_low": [0.41, 0.96, 36.0, 7.1], "ci_high": [0.62, 0.98, 44.0, 8.9]})
        >>> for sentence in answer(table, "CLIP", 9): print(sentence.striptags())
        noise moves CLIP most: mean cosine similarity to the original 0.50 (95 % interval 0.41 to 0.62), mean L2 distance 40.0 (36.0 to 44.0).
        flip moves it least: 0.970 (0.960 to 0.980), L2 distance 8.0 (7.1 to 8.9).
        The two intervals do not overlap.
    """  # noqa: E501
    cosine = _by_augmentation(summary, "cosine_similarity")
    if not cosine:
        return [Markup("No cosine similarity could be computed: no embedding of {} has a norm.").format(encoder)]
    far = _by_augmentation(summary, "l2_distance")
    order = sorted(cosine.values(), key=lambda row: row["mean"])
    most, least = order[0], order[-1]
    name = most["augmentation"]
    only = Markup(", the only augmentation,") if len(order) == 1 else ""
    first = Markup("<b>{}</b>{} moves {}{}: mean cosine similarity to the original {}{}.").format(
        name, only, encoder, "" if only else " most", _value(most, "95 % interval "), _distance(far, name, "mean ")
    )
    if len(order) == 1:
        return [first]
    name = least["augmentation"]
    second = Markup("<b>{}</b> moves it least: {}{}.").format(name, _value(least), _distance(far, name))
    return [first, second, _between(order, images)]


def _by_augmentation(summary: pl.DataFrame, metric: str) -> dict[str, Row]:
    rows = summary.filter((pl.col("metric") == metric) & pl.col("mean").is_not_null()).iter_rows(named=True)
    return {row["augmentation"]: row for row in rows}


def _value(row: Row, word: str = "") -> Markup:
    low, high = row["ci_low"], row["ci_high"]
    if row["n"] < 2:
        return Markup("<b>{}</b> (one value: no interval)").format(fixed(row["mean"], 3))
    places = decimals(low, high)
    text = Markup("<b>{}</b> ({}{} to {})")
    return text.format(fixed(row["mean"], places), word, fixed(low, places), fixed(high, places))


def _distance(far: dict[str, Row], name: str, word: str = "") -> Markup:
    return Markup(", {}L2 distance {}").format(word, _value(far[name])) if name in far else Markup("")


def _between(order: list[Row], images: int) -> Markup:
    """The third sentence: where the others lie, and whether both ends stand apart from their neighbours."""
    if len(order) == 2:
        if _overlap(order[0], order[1]):
            return Markup("The two intervals overlap: which moves it more is not settled by {}.").format(
                count(images, "image")
            )
        return Markup("The two intervals do not overlap.")
    low, high = order[1], order[-2]
    if len(order) == 3:
        where = Markup("{}, the third, lies between them at {}").format(low["augmentation"], _value(low))
    else:
        where = Markup("The other {} lie between {} at {} and {} at {}").format(
            len(order) - 2, low["augmentation"], _value(low), high["augmentation"], _value(high)
        )
    unsettled = [
        Markup("which of {} and {} moves it {}").format(end["augmentation"], next_to["augmentation"], word)
        for end, next_to, word in ((order[0], low, "more"), (order[-1], high, "less"))
        if _overlap(end, next_to)
    ]
    if not unsettled:
        return where + Markup(", and neither end's interval overlaps with its neighbour's.")
    return where + Markup("; {} is not settled by {}, since their intervals overlap.").format(
        Markup(" nor ").join(unsettled) if len(unsettled) > 1 else unsettled[0], count(images, "image")
    )


def _overlap(one: Row, other: Row) -> bool:
    return bool(one["ci_low"] <= other["ci_high"] and other["ci_low"] <= one["ci_high"])
