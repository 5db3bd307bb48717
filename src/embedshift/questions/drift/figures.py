"""Figures of a drift: the batches, and how many vectors name each change."""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from embedshift.figures import style
from embedshift.figures.style import FAINT, PALETTE, new_figure, verbatim
from embedshift.questions.drift.numbers import Named
from embedshift.questions.drift.power import FRACTIONS, SIZES


def draw_drift(found: Mapping[str, Named], names: Sequence[Sequence[str]]) -> Figure:
    """Draws each batch, and the names in words of its named sets."""
    with style.context():
        notes = "above: relative shift of the mean, line: 95 % interval · below: fractions of images, named changes"
        figure = new_figure(notes, max(6.0, min(16.0, 2 + 0.35 * len(found))), 5, "What happened to the images")
        above, below = figure.subplots(2, 1, sharex=True)
        places, colour = np.arange(len(found)), PALETTE[0]
        moved = np.array([each.moved for each in found.values()]).reshape(-1, 3)
        above.vlines(places, moved[:, 1], moved[:, 2], color=colour, linewidth=1.6)
        above.plot(places, moved[:, 0], "o", color=colour, markersize=4)
        above.set_ylabel("relative shift")
        above.set_ylim(bottom=0)
        colours, bottoms = dict[str, str](), np.zeros(len(found))
        for place, each in enumerate(found.values()):
            for words, own in zip(names[place], each.sets, strict=True):
                label = None if words in colours else verbatim(words)
                colours.setdefault(words, PALETTE[len(colours) % len(PALETTE)])
                height = each.fractions[own[0]].value
                below.bar(place, height, bottom=bottoms[place], color=colours[words], width=0.7, label=label)
                bottoms[place] += height
        below.set_ylim(0, max(1.0, float(bottoms.max(initial=0))))
        below.set_ylabel("fraction of images")
        below.set_xticks(places, [verbatim(name) for name in found], rotation=45, ha="right")
        for axes in (above, below):
            axes.grid(color=FAINT)
        if colours:
            below.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderpad=0.2)
        return figure


def draw_power(table: pl.DataFrame, images: int) -> Figure:
    """Draws the number of vectors that names each change at each fraction, of `Drift.power`."""
    with style.context():
        names = table["augmentation"].unique(maintain_order=True).to_list()
        notes = f"reference: {images:,} images · simulated from how they vary · in 80 % of batches, by {SIZES[-1]:,}"
        figure = new_figure(notes, 6, 1.6 + 0.24 * len(names), "How many vectors name a change?")
        axes = figure.subplots()
        beyond = 2.5 * SIZES[-1]
        for fraction, colour in zip(FRACTIONS, PALETTE, strict=False):
            own = table.filter(fraction=fraction)
            places = np.array([names.index(name) for name in own["augmentation"]])
            numbers = own["vectors"].cast(pl.Float64).fill_null(np.inf).to_numpy()
            reached, shift = np.isfinite(numbers), 0.22 * (FRACTIONS.index(fraction) - 1)
            label = f"{fraction:.0%} of the images"
            axes.plot(numbers[reached], places[reached] + shift, "o", color=colour, markersize=4.5, label=label)
            axes.plot(np.full((~reached).sum(), beyond), places[~reached] + shift, "x", color=colour, markersize=4)
        axes.set_xscale("log")
        ticks = [size for size in SIZES if str(size)[0] == "1"]
        axes.set_xticks([*ticks, beyond], [*(f"{size:,}" for size in ticks), "never"])
        axes.minorticks_off()
        axes.set_xlim(SIZES[0] * 0.7, beyond * 1.6)
        axes.set_yticks(range(len(names)), [verbatim(name) for name in names])
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.grid(color=FAINT)
        axes.set_xlabel("vectors of a batch")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderpad=0.2)
        return figure
