"""Figure 14: the cosine between shifts, with a tree of augmentations that move the embedding the same way."""

import numpy as np
from matplotlib.figure import Figure

from embedshift.arrays import Values
from embedshift.errors import UsageError
from embedshift.figures.base import FigureInput, figure, has_table
from embedshift.figures.shared import cells, colour_bar, edge_tree
from embedshift.figures.style import column_names, human, new_figure
from embedshift.statistics.clusters import branches, linkage_matrix

PANELS = {"directions": "mean shifts", "directions_of_images": "shifts of one image, mean over images"}
# From the same direction through a right angle to the opposite one.
COLOURS = "RdBu_r"
# Up to this many augmentations each cell has its number, which would be too small in more cells.
WRITTEN = 12
# Inches of a cell with its number, and without.
CELL, SMALL = 0.42, 0.24


@figure("directions", section=True, is_available=has_table("directions"))
def directions(data: FigureInput, title: str) -> Figure:
    tables = {name: table for name in PANELS if (table := data.table(name)) is not None}
    if "directions" not in tables:
        raise UsageError("this study has no sums of shifts; run it again in another folder")
    matrices = [table.drop("augmentation").to_numpy().astype(np.float64) for table in tables.values()]
    linkage, order = tree_of(matrices[0])
    names = [data.augmentations[index] for index in order]
    note = "1 = same direction, 0 = right angle, −1 = opposite direction; tree: average linkage on 1 − cosine"
    many = len(names) > WRITTEN
    note += f"; numbers: {' and '.join(f'tables/{name}.csv' for name in tables)}" if many else ""
    cell = SMALL if many else CELL
    side, label_width = cell * len(names), max(len(human(name)) for name in names) * 0.56 * 8 / 72
    height = side + column_names(names, cell)[2] + 1.1
    figure = new_figure(
        data.caption(note), 1.0 + label_width + max(1.9, side + 0.3) * len(matrices) + 0.9, height, title
    )
    grid = figure.add_gridspec(1, 1 + len(matrices), width_ratios=(0.9, *[max(1.6, side)] * len(matrices)))
    tree = figure.add_subplot(grid[0])
    tree.set_axis_off()
    edge_tree(tree, linkage, len(names), upright=False)
    panels = [figure.add_subplot(grid[column]) for column in range(1, 1 + len(matrices))]
    for axes, matrix, name in zip(panels, matrices, tables, strict=True):
        rows = [human(name) for name in names] if axes is panels[0] else [""] * len(names)
        mesh = cells(
            axes, np.round(matrix[np.ix_(order, order)], 2) + 0.0, rows, names, cell,
            written="" if many else ".2f", written_at=7, cmap=COLOURS, vmin=-1.0, vmax=1.0,
        )  # fmt: skip
        axes.set_title(PANELS[name].replace(", ", ",\n"), y=1)
    colour_bar(figure, mesh, [tree, *panels], "cosine between shifts", shrink=0.7)
    return figure


def tree_of(cosines: Values) -> tuple[Values | None, list[int]]:
    """Returns the linkage of the augmentations that have a direction, and the order of all, the others last."""
    moved = np.flatnonzero(~np.isnan(np.diag(cosines)))
    without = [index for index in range(len(cosines)) if index not in moved]
    if len(moved) < 2:
        return None, [*moved.tolist(), *without]
    distances = np.clip(1 - cosines[np.ix_(moved, moved)], 0.0, None)
    linkage = linkage_matrix(distances, "average")
    return linkage, [*moved[branches(linkage).leaves].tolist(), *without]
