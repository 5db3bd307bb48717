"""Figure 32: bytes of an image against what a search misses, with the frontier."""

from matplotlib.figure import Figure

from embedshift.config import Json
from embedshift.figures.base import FigureInput, figure, has_table
from embedshift.figures.style import FAINT, MUTED, PALETTE, new_figure
from embedshift.questions.index.verdicts import verdicts


@figure("index", section=True, is_available=has_table("index"))
def index(data: FigureInput, title: str) -> Figure:
    found = verdicts(data.need("index"))
    drawn = new_figure(
        data.caption("a line: the fewest misses for as many bytes; bars: 95 % intervals; a star: recommended"),
        7.5,
        4.2,
        title,
    )
    axes = drawn.subplots()
    order = sorted(found, key=lambda each: (each.searched, 1 - each.recall[0]))
    frontier, least = [], float("inf")
    for each in order:
        if 1 - each.recall[0] < least:
            least = 1 - each.recall[0]
            frontier.append((each.searched, least))
    if frontier:
        frontier.append((order[-1].searched, least))
        axes.plot(*zip(*frontier, strict=True), color=MUTED, linewidth=1.1, drawstyle="steps-post", zorder=1)
    for place, each in enumerate(order):
        missed, low, high = 1 - each.recall[0], 1 - each.recall[2], 1 - each.recall[1]
        look: Json = {
            "color": PALETTE[place % len(PALETTE)],
            "marker": "*" if each.recommended else "o",
            "linewidth": 1,
        }
        axes.errorbar(
            [each.searched], [missed], [[missed - low], [high - missed]], markersize=5, label=each.name, **look
        )
    axes.set_xscale("log", base=2)
    axes.set_ylim(bottom=0)
    axes.grid(color=FAINT)
    axes.set_xlabel("bytes of an image that a search reads")
    axes.set_ylabel("missed (1 − recall@1)")
    if order:
        drawn.legend(loc="outside right upper")
    return drawn
