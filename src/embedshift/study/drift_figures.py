"""The figure of a drift: how far each batch moved, and which fractions of its images are named."""

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from embedshift.figures import style
from embedshift.figures.style import FAINT, PALETTE, new_figure, verbatim

if TYPE_CHECKING:
    from embedshift.study.drift import Drift


def draw(drift: "Drift") -> Figure:
    with style.context():
        found = drift.judged
        notes = "above: relative shift of the mean, line: 95 % interval · below: fractions of images, named changes"
        figure = new_figure(notes, max(6.0, min(16.0, 2 + 0.35 * len(found))), 5, "What happened to the images")
        above, below = figure.subplots(2, 1, sharex=True)
        places, colour = np.arange(len(found)), PALETTE[0]
        moved = np.array([(each.moved.value, each.moved.low, each.moved.high) for each in found.values()])
        moved = moved.reshape(-1, 3)
        above.vlines(places, moved[:, 1], moved[:, 2], color=colour, linewidth=1.6)
        above.plot(places, moved[:, 0], "o", color=colour, markersize=4)
        above.set_ylabel("relative shift")
        above.set_ylim(bottom=0)
        names, bottoms = dict[str, str](), np.zeros(len(found))
        for place, each in enumerate(found.values()):
            for words, own in zip(drift.names(each), each.sets, strict=True):
                is_new = words not in names
                names.setdefault(words, PALETTE[len(names) % len(PALETTE)])
                height = each.fractions[own[0]].value
                label = verbatim(words) if is_new else None
                below.bar(place, height, bottom=bottoms[place], color=names[words], width=0.7, label=label)
                bottoms[place] += height
        below.set_ylim(0, max(1.0, float(bottoms.max(initial=0))))
        below.set_ylabel("fraction of images")
        below.set_xticks(places, [verbatim(name) for name in found], rotation=45, ha="right")
        for axes in (above, below):
            axes.grid(color=FAINT)
        if names:
            below.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderpad=0.2)
        return figure
