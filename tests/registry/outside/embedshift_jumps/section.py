"""The block that adds most, augmentation by augmentation."""

import polars as pl

from embedshift.report.section import Part, Section


def section(page):
    """The largest mean jump of every augmentation."""
    found = page.data.need("jumps")
    most = found.filter(pl.col("jump") == pl.col("jump").max().over("augmentation"))
    content = {"rows": most.to_dicts(), "figure": page.figures.get("jumps")}
    return Section("jumps", "Jumps", content)


PART = Part(section)
