"""The block that adds most, augmentation by augmentation."""

import polars as pl

from embedshift.report.section import Answer, Part, Section


def section(page):
    """The largest mean jump of every augmentation."""
    found = page.data.need("jumps")
    most = found.filter(pl.col("jump") == pl.col("jump").max().over("augmentation"))
    content = {"rows": most.to_dicts(), "figure": page.figures.get("jumps")}
    return Section("jumps", "Jumps", content)


def answer(page):
    """The augmentation and the block with the largest mean jump."""
    most = page.data.need("jumps").sort("jump", descending=True).row(0, named=True)
    return Answer("Which block adds most to the shift?", {"most": most})


PART = Part(section, answer=answer)
