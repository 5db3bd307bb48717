"""The report's section on heads."""

import numpy as np
import polars as pl

from embedshift.config import Json
from embedshift.questions.heads.columns import MLP
from embedshift.questions.heads.details import agreement_said, place_of, tokens_of, words_of
from embedshift.questions.heads.shares import furthest_first, shares_of
from embedshift.report.numbers import MISSING, in_percent
from embedshift.report.section import PageInput, Part, Section
from embedshift.statistics.summary import COSINE

# Heads that a row names.
NAMED = 3


def section(page: PageInput) -> Section | None:
    """Returns the section; None without heads."""
    table = page.data.table("heads")
    if table is None:
        return None
    shift = 1 - page.data.statistic("mean", COSINE)
    names = furthest_first(page.data.augmentations, shift)
    content = rows_of(table, names)
    content |= {"words": words_of(page.data, content["rows"]), "tokens": tokens_of(page.data, names)}
    content |= {"agreement": agreement_said(page.data)}
    drawn = {"map": "heads_map", "bars": "heads_bars", "token_maps": "head_tokens", "way": "heads_depth"}
    figures = {key: page.figures.get(name) for key, name in drawn.items()}
    return Section("heads", "Heads and MLPs", {"heads": content | figures | {"images": page.data.images}})


def rows_of(table: pl.DataFrame, names: list[str]) -> Json:
    """Returns what the section shows beside its figures.

    Args:
        table: The table `heads`.
        names: The augmentations, in the order of the rows.

    Returns:
        `depth` and `width`, the numbers of blocks and of heads per block; `rows`, one per augmentation: its name, the
        `NAMED` heads with the greatest shares, whether the first is clearly `ahead` of the second; and the shares of
        all heads, all MLPs, the last block and the input.

    Example:
        >>> parts = {"layer": [0, 0, 0, 1, 1, 1], "part": ["input", "pattern", "rest", "0", "1", "mlp"]}
        >>> numbers = {"share": [0.0, 0.0, 0.0, 0.5, 0.3, 0.2], "ci_low": [0.0, 0.0, 0.0, 0.4, 0.2, 0.1]}
        >>> ends = {"ci_high": [0.0, 0.0, 0.0, 0.6, 0.39, 0.3]}
        >>> table = pl.DataFrame({"augmentation": ["noise"] * 6} | parts | numbers | ends)
        >>> row = rows_of(table, ["noise"])["rows"][0]
        >>> row["heads"][0], row["ahead"], row["mlps"]
        ({'place': 'block 1, head 0', 'share': '50.0 %', 'interval': '40.0 to 60.0 %'}, 'yes', '20.0 %')
    """
    shares, rows = shares_of(table), []
    of_heads = table.filter(pl.col("layer") > 0, pl.col("part") != MLP)
    for name in names:
        own = shares[name]
        top = of_heads.filter(augmentation=name).drop_nulls("share").sort("share", descending=True, maintain_order=True)
        row: Json = {"augmentation": name, "heads": [_head(each) for each in top.head(NAMED).iter_rows(named=True)]}
        row |= {"ahead": is_clear(top), "all_heads": _percent(own.heads.sum()), "mlps": _percent(own.mlps.sum())}
        last = own.heads[-1].sum() + own.mlps[-1]
        rows.append(row | {"last": _percent(last), "input": _percent(own.single["input"])})
    depth, width = next(iter(shares.values())).heads.shape
    return {"depth": depth, "width": width, "rows": rows}


def _head(row: Json) -> Json:
    share, interval = in_percent(row["share"], row["ci_low"], row["ci_high"])
    return {"place": place_of(row["layer"], row["part"]), "share": share, "interval": interval}


def _percent(share: float) -> str:
    return in_percent(None if np.isnan(share) else float(share))[0]


def is_clear(top: pl.DataFrame) -> str:
    """Returns whether the first head's interval lies above the second's in a sorted table: yes, no, or a dash.

    Example:
        >>> is_clear(pl.DataFrame({"ci_low": [0.3, 0.1], "ci_high": [0.5, 0.31]}))
        'no'
    """
    if len(top) < 2 or top["ci_low"][0] is None or top["ci_high"][1] is None:
        return MISSING
    return "yes" if top["ci_low"][0] > top["ci_high"][1] else "no"


TERMS = {
    "head": "One of the parallel attention units of a block. Each computes its own attention over the tokens.",
    "MLP": "The second half of a block: a small network that processes each token separately.",
    "residual stream": "The running sum of each token: the input plus the outputs of all heads and MLPs so far.",
    "share of the shift": "The part of the shift that comes from one head, one MLP or the input. All shares sum to 1.",
}

PART = Part(
    section,
    terms=TERMS,
    corrected={"Shares of heads": "Not corrected. The largest of many shares tends to be overestimated."},
)
