"""The learning curve of an upgrade."""

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from embedshift.figures import style
from embedshift.figures.style import FAINT, INK, MUTED, PALETTE, new_figure
from embedshift.questions.upgrade.numbers import ALL, NEW, OLD


def draw_upgrade(curve: pl.DataFrame, table: pl.DataFrame, images: int) -> Figure:
    with style.context():
        notes = f"n = {images:,} · dot: recall@1 of images and changes that are not fitted; line: 95 % interval"
        figure = new_figure(notes, 6, 3.8, "Would more images make a better map?")
        axes = figure.subplots()
        numbers = curve.select("value", "ci_low", "ci_high").cast(pl.Float64).fill_null(np.nan)
        value, low, high = numbers.to_numpy().T
        places, colour = curve["images"].to_numpy(), PALETTE[0]
        axes.vlines(places, low, high, color=colour, linewidth=1.6)
        axes.plot(places, value, "o-", color=colour, markersize=4, label="new queries through the best fitted map")
        for name, words, line in ((OLD, "old queries", "-"), (NEW, "new queries, new index", "--")):
            found = table.filter(deployment=name, augmentation=ALL, metric="recall@1")["value"][0]
            axes.axhline(found, color=INK if name == OLD else MUTED, linewidth=0.9, linestyle=line, label=words)
        axes.set_xscale("log", base=2)
        axes.set_xticks(places, [f"{place:,}" for place in places])
        axes.minorticks_off()
        axes.grid(color=FAINT)
        axes.set_ylim(top=1.02)
        axes.set_xlabel("images that the map is fitted to")
        axes.set_ylabel("recall@1")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderpad=0.2)
        return figure
