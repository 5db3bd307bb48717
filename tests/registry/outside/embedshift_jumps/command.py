"""The command `embedshift jumps`."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from embedshift.config import CommandOptions
from embedshift.registry import argument, setting
from embedshift.study import load
from embedshift.study.result import Grid, Output


@dataclass(frozen=True, kw_only=True)
class Options(CommandOptions):
    """Options of `jumps`."""

    study: Path = argument("A study that was run with --jumps.")
    least: float = setting(0.0, "Print only jumps from this size on.")


def command(options: Options) -> Output:
    """Prints the jumps of each augmentation and block."""
    table = load(options.study).table("jumps").filter(pl.col("jump") >= options.least)
    rows = [[name, str(layer), f"{jump:.3f}"] for name, layer, jump, _ in table.iter_rows()]
    return Output({"jumps": table.to_dicts()}, [Grid(("augmentation", "layer", "jump"), ("name", "number"), rows)])
