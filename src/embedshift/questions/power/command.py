"""The command `embedshift power`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from embedshift.config import GroupedOptions
from embedshift.registry import argument, setting

if TYPE_CHECKING:
    from embedshift.study.result import Output


@dataclass(frozen=True, kw_only=True)
class Options(GroupedOptions):
    """Options of `power`."""

    study: Path = argument("A finished study: the pilot.")
    ratio: float | None = setting(None, "How many times as far views move. Default: 1.1.")
    recall_loss: float | None = setting(None, "How much of recall@1 is lost. Default: 0.01.")
    power: float | None = setting(None, "With what probability it is found. Default: 0.8.")


def command(options: Options) -> "Output":
    """Plans how many images a comparison needs."""
    from embedshift.statistics.intervals import LEAST_IMAGES
    from embedshift.statistics.power import PLANNED, planned
    from embedshift.study.result import Grid, Output
    from embedshift.study.study import opened

    study = opened(options.study, options.groups, LEAST_IMAGES)
    chosen = {"ratio": options.ratio, "recall_loss": options.recall_loss, "power": options.power}
    table, info = study.table("power", measured=True, **chosen), study.reader().info
    content = {"study": str(options.study), "power": table.to_dicts()}
    if table.is_empty():
        return Output(content, ["Nothing can be planned from no comparison."])
    unit = "groups" if info.groups else "images"
    title = f"{unit} that find it in {100 * table['power'][0]:g} % of studies; pilot: {info.group_count:,} {unit}"
    grid = Grid(PLANNED, ("name", "name", "number"), [*planned(table)], title)
    return Output(content, [grid, "Every row: `--json`. What each number means: `embedshift docs power`."])
