"""Where it happens: what the section on layers says."""

import polars as pl

from embedshift.config import Json
from embedshift.questions.layers.figures import TOKEN_WORDS
from embedshift.report.numbers import fixed
from embedshift.report.section import PageInput, Part, Section


def section(page: PageInput) -> Section | None:
    """Where it happens; nothing without layers."""
    table = page.data.table("layers")
    if table is None:
        return None
    content = rows_of(table) | {"figure": page.figures.get("depth")}
    return Section("layers", "Where it happens", 60, {"layers": content})


def rows_of(table: pl.DataFrame) -> Json:
    """What the section shows beside its figure, of the class token, or of the mean patch where there is none.

    Args:
        table: As `Study.layers`.

    Returns:
        `depth`, the number of blocks; `token`, in words; `has_cls`; `rows`, one per augmentation: name, mean cosine
        after the first and the last block, and the first block after which half of the last one's drop is reached.

    Example:
        >>> table = pl.DataFrame({"augmentation": ["noise"] * 3, "layer": [1, 2, 3], "token": ["cls"] * 3,
        ...     "metric": ["cosine_similarity"] * 3, "mean": [0.95, 0.8, 0.7]})
        >>> rows_of(table)["rows"]
        [{'augmentation': 'noise', 'first': '0.950', 'last': '0.700', 'half': 2}]
    """
    has_cls = "cls" in table["token"]
    token = "cls" if has_cls else "patches"
    cosine = table.filter(pl.col("metric") == "cosine_similarity", pl.col("token") == token)
    rows: list[Json] = []
    for (name,), part in cosine.group_by("augmentation", maintain_order=True):
        means = part.sort("layer")["mean"].to_list()
        first, last = fixed(means[0], 3), fixed(means[-1], 3)
        rows.append({"augmentation": name, "first": first, "last": last, "half": half_way(means)})
    return {"depth": cosine["layer"].max(), "token": TOKEN_WORDS[token], "has_cls": has_cls, "rows": rows}


def half_way(means: list[float | None]) -> int | None:
    """The first block, counted from 1, whose mean cosine lies half as far below 1 as the last block's, or further.

    None where the last block has no mean, or none that lies below 1.

    Example:
        >>> half_way([0.99, 0.7, 0.9, 0.6]), half_way([1.0, 1.0])
        (2, None)
    """
    last = means[-1]
    if last is None or not last < 1:
        return None
    return next(layer for layer, mean in enumerate(means, start=1) if mean is not None and 1 - mean >= (1 - last) / 2)


PART = Part(section)
