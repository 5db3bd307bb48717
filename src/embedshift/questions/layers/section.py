import polars as pl

from embedshift.config import Json
from embedshift.questions.layers import UNMOVED
from embedshift.questions.layers.figures import TOKEN_WORDS
from embedshift.report.numbers import MISSING
from embedshift.report.section import PageInput, Part, Section
from embedshift.statistics.agreement import LEAST_CKA
from embedshift.statistics.intervals import LEAST_IMAGES


def section(page: PageInput) -> Section | None:
    table = page.data.table("layers")
    if table is None:
        return None
    content = rows_of(table, page.data.images) | {"figure": page.figures.get("depth")}
    return Section("layers", "Layers", {"layers": content})


def rows_of(table: pl.DataFrame, images: int) -> Json:
    """Returns what the section shows beside its figure, for the class token, or the mean patch if there is none."""
    has_cls = "cls" in table["token"]
    token = "cls" if has_cls else "patches"
    cosine = table.filter(pl.col("metric") == "cosine_similarity", pl.col("token") == token)
    rows: list[Json] = []
    for (name,), part in cosine.group_by("augmentation", maintain_order=True):
        changes = [None if mean is None else 1 - mean for mean in part.sort("layer")["mean"]]
        highest = part.sort("layer")["ci_high"][-1]
        significant = images >= LEAST_IMAGES and highest is not None and highest < 1 - UNMOVED
        half = half_way(changes) if significant else None
        rows.append({"augmentation": name, "first": change(changes[0]), "last": change(changes[-1]), "half": half})
    measured = table.drop_nulls("mean")["metric"]
    return {
        "depth": cosine["layer"].max(), "token": TOKEN_WORDS[token], "has_cls": has_cls, "rows": rows,
        "has_cka": "cka" in measured, "least_cka": LEAST_CKA, "images": images,
    }  # fmt: skip


def change(value: float | None) -> str:
    if value is None:
        return MISSING
    if value <= UNMOVED:
        return "0"
    return f"{value:#.2g}" if value >= 1e-4 else f"{value:.6f}"


def half_way(changes: list[float | None]) -> int | None:
    last = changes[-1]
    if last is None or not last > UNMOVED:
        return None
    return next(layer for layer, value in enumerate(changes, start=1) if value is not None and value >= last / 2)


TERMS = {
    "block": "One of the similar layers of a transformer encoder.",
    "token": "A vector between two blocks: one per patch, and a class token for the whole image.",
    "CKA": "Centred kernel alignment: whether images that are similar as originals are also similar as views; 1 = yes.",
}

PART = Part(section, terms=TERMS)
