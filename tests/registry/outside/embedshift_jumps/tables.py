"""The table `jumps`: mean jump per augmentation and block, as a relative shift of the mean largest one."""

import polars as pl

from embedshift.store.tables import Table


def jumps(reader):
    """One row per augmentation and block."""
    largest = reader.table("summary").filter(metric="largest_jump").select("augmentation", largest="mean")
    rows = reader.rows().filter(pl.col("view") != "original").select(augmentation="view", jump="jumps")
    found = rows.with_columns(layer=pl.int_ranges(1, pl.col("jump").arr.len() + 1)).collect()
    found = found.with_columns(pl.col("jump").arr.to_list()).explode("jump", "layer")
    means = found.group_by("augmentation", "layer", maintain_order=True).agg(pl.col("jump").cast(pl.Float64).mean())
    return means.join(largest, on="augmentation", maintain_order="left")


TABLES = (Table("jumps", jumps, reads=("summary",)),)
