from collections.abc import Sequence

import numpy as np
import polars as pl

from embedshift.config import Json
from embedshift.figures import FigureInput
from embedshift.questions.heads import MLP
from embedshift.questions.heads.tables import contributions_of, furthest_first
from embedshift.report.numbers import MISSING, in_percent, shorten
from embedshift.report.section import PageInput, Part, Section
from embedshift.statistics.summary import COSINE

# Heads that a row names, and characters of a word that are shown.
NAMED, LONGEST = 3, 60


def section(page: PageInput) -> Section | None:
    table = page.data.table("heads")
    if table is None:
        return None
    shift = 1 - page.data.statistic("mean", COSINE)
    names = furthest_first(page.data.augmentations, shift)
    content = rows_of(table, names)
    content |= {"words": words_of(page.data, content["rows"]), "tokens": tokens_of(page.data, names)}
    drawn = {"map": "heads_map", "bars": "heads_bars", "token_maps": "head_tokens"}
    figures = {key: page.figures.get(name) for key, name in drawn.items()}
    content |= figures | {"images": page.data.group_count, "group_word": page.data.group_word}
    return Section("heads", "Heads and MLPs", {"heads": content})


def rows_of(table: pl.DataFrame, names: list[str]) -> Json:
    contributions, rows = contributions_of(table), []
    head_rows = table.filter(pl.col("layer") > 0, pl.col("part") != MLP)
    for name in names:
        split = contributions[name]
        own = head_rows.filter(augmentation=name).drop_nulls("contribution")
        top = own.sort("contribution", descending=True, maintain_order=True)
        row: Json = {"augmentation": name, "heads": [_head(part) for part in top.head(NAMED).iter_rows(named=True)]}
        row |= {"ahead": is_clear(top), "all_heads": _percent(split.heads.sum()), "mlps": _percent(split.mlps.sum())}
        last = split.heads[-1].sum() + split.mlps[-1]
        rows.append(row | {"last": _percent(last), "input": _percent(split.single["input"])})
    depth, width = next(iter(contributions.values())).heads.shape
    return {"depth": depth, "width": width, "rows": rows}


def _head(row: Json) -> Json:
    contribution, interval = in_percent(row["contribution"], row["ci_low"], row["ci_high"])
    return {"name": head_name(row["layer"], row["part"]), "contribution": contribution, "interval": interval}


def _percent(contribution: float) -> str:
    return in_percent(None if np.isnan(contribution) else float(contribution))[0]


def is_clear(top: pl.DataFrame) -> str:
    """Returns whether the first head's interval lies above the second's in a sorted table: yes, no, or a dash."""
    if len(top) < 2 or top["ci_low"][0] is None or top["ci_high"][1] is None:
        return MISSING
    return "yes" if top["ci_low"][0] > top["ci_high"][1] else "no"


def head_name(layer: object, head: object) -> str:
    return f"block {layer}, head {head}"


def words_of(data: FigureInput, rows: Sequence[Json]) -> list[Json]:
    table = data.table("head_words")
    if table is None:
        return []
    named = {head["name"] for row in rows for head in row["heads"]}
    described: list[Json] = []
    for (layer, head), part in table.group_by("layer", "head", maintain_order=True):
        name = head_name(layer, head)
        if name in named:
            words = [shorten(word, LONGEST) for word in part["word"]]
            described.append({"name": name, "words": words, "explained": in_percent(part["explained"][-1])[0]})
    return described[::-1]


def tokens_of(data: FigureInput, names: Sequence[str]) -> Json:
    """Returns augmentation → "pattern" (attention to other tokens) and "values" → contribution with its interval."""
    table = data.table("head_tokens")
    parts = {} if table is None else {name: table.filter(augmentation=name).drop("augmentation") for name in names}
    return {name: {term: ends for term, *ends in part.iter_rows()} for name, part in parts.items()}


TERMS = {
    "head": "One of the parallel attention units of a block. Each computes its own attention over the tokens.",
    "MLP": "The second half of a block: a small network that processes each token separately.",
    "residual stream": "The running sum of each token: the input plus the outputs of all heads and MLPs so far.",
    "contribution": "The fraction of the shift that comes from one head, one MLP or the input. All of them sum to 1.",
}

CORRECTED = {"Contributions of heads": "Not corrected. The largest of many contributions tends to be overestimated."}
PART = Part(section, terms=TERMS, corrected=CORRECTED)
