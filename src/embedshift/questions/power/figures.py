"""Figure 28: images that each comparison needs, beside those of this study."""

from matplotlib.figure import Figure

from embedshift.figures.base import FigureInput, figure, has_table
from embedshift.figures.shared import name_rows
from embedshift.figures.style import FAINT, INK, MUTED, new_figure
from embedshift.statistics.power import KINDS, in_words


@figure("power", section=True, is_available=has_table("power"))
def power(data: FigureInput, title: str) -> Figure:
    table = data.need("power").drop_nulls("n")
    parts = table.partition_by("table", "metric", maintain_order=True, as_dict=True)
    note = (
        f"a dot: one augmentation, pair or family; line: 90 % of pilots, for the largest; dashed: {data.group_count:,} "
    )
    note += f"{data.group_word}s of this study; power {100 * table['power'][0]:g} %"
    drawn = new_figure(data.caption(note), 7.2, 1.3 + 0.36 * len(parts), title)
    axes = drawn.subplots()
    names = []
    for position, ((kind, _), rows) in enumerate(parts.items()):
        largest = rows.sort("n").row(-1, named=True)
        names.append(f"{KINDS[kind]}: {in_words(largest)}")
        axes.plot(rows["n"], [position] * len(rows), "o", color=MUTED, markersize=4, alpha=0.45)
        if largest["n_low"] and largest["n_high"]:
            axes.hlines(position, largest["n_low"], largest["n_high"], color=INK, linewidth=1.6)
        axes.plot(largest["n"], position, "o", color=INK, markersize=5.5)
    axes.set_xscale("log")
    axes.axvline(data.group_count, color=MUTED, linewidth=1, linestyle="--")
    name_rows(axes, names, below=0.5)
    axes.grid(axis="x", color=FAINT)
    axes.set_xlabel(f"{data.group_word}s")
    return drawn
