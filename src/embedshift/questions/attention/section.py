from collections.abc import Sequence

import polars as pl

from embedshift.config import Json
from embedshift.questions.attention import ALIGNED, DIVERGENCE, RISE, ROLLOUT
from embedshift.questions.attention.figures import metrics_of
from embedshift.questions.attention.tables import ALIGNMENT, SCHEMA, SPREAD
from embedshift.report.numbers import MISSING, fixed, with_interval
from embedshift.report.own_sections import ATTENTION
from embedshift.report.section import PageInput, Part, Section
from embedshift.statistics.intervals import APPROXIMATE_BELOW, LEAST_IMAGES
from embedshift.statistics.summary import ordered


def section(page: PageInput) -> Section | None:
    data, metrics = page.data, metrics_of(page.data)
    if not metrics:
        return None
    kind = ATTENTION.get(page.info.encoder.attention_kind or "", "means over heads")
    content: Json = {"has": metrics, "kind": kind, "figure": page.figures.get("attention_change")}
    content |= changes(data.table("looks"), metrics)
    content["extremes"] = extremes(data.summary, metrics, data.table("differences"))
    return Section("looks", "Attention", {"looks": content})


def changes(table: pl.DataFrame | None, metrics: Sequence[str]) -> Json:
    table = pl.DataFrame(schema=SCHEMA) if table is None else table
    spread = table.filter(what=SPREAD)
    return {
        "has_intervals": table["low"].count() > 0,
        "alignment": _by_significance(table.filter(what=ALIGNMENT)) if ALIGNED in metrics else None,
        "spread": _by_significance(spread) if RISE in metrics and spread["n"].sum() else None,
        "is_approximate": not table.filter(pl.col("n").is_between(LEAST_IMAGES, APPROXIMATE_BELOW - 1)).is_empty(),
    }


def _by_significance(table: pl.DataFrame) -> Json:
    parts: dict[str, list[Json]] = {name: [] for name in ("above", "below", "open", "few", "none")}
    for row in table.iter_rows(named=True):
        part = "none" if not row["n"] else "few" if row["n"] < LEAST_IMAGES else "open"
        if part == "open" and row["significant"]:
            part = "above" if row["difference"] > 0 else "below"
        number, interval = with_interval(row["difference"], row["low"], row["high"])
        shown = (number, interval) if interval != MISSING else (fixed(row["difference"], 3), "")
        parts[part].append({"name": row["augmentation"], "shown": shown})
    return parts


def extremes(summary: pl.DataFrame, metrics: Sequence[str], differences: pl.DataFrame | None = None) -> list[Json]:
    ranges: list[Json] = []
    for metric in (name for name in (DIVERGENCE, ROLLOUT) if name in metrics):
        part = summary.filter(pl.col("metric") == metric, pl.col("images") >= LEAST_IMAGES).drop_nulls("mean")
        rows = part.sort("mean", descending=metric == DIVERGENCE, maintain_order=True)
        shown = {name: fixed(mean, 3) for name, mean in rows.select("augmentation", "mean").iter_rows()}
        if len(shown) > 1:
            order = None if differences is None else ordered(differences, metric, list(shown))
            ends = [order.most, order.least] if order and order.significant else []
            are_equal, is_tested = rows["mean"][0] == rows["mean"][-1], order is not None
            content = {"shown": shown, "ends": ends, "are_equal": are_equal, "is_tested": is_tested}
            ranges.append(content | {"is_divergence": metric == DIVERGENCE})
    return ranges


TERMS = {
    "attention map": "How much weight the encoder gives to each patch of an image.",
    "entropy": "How widely attention is spread: 0 = all on one patch.",
    "rollout": "The attention of all layers, multiplied.",
}
CORRECTED = {"Whether attention follows the image, spreads out or concentrates": "Corrected over all augmentations."}

PART = Part(section, terms=TERMS, corrected=CORRECTED)
