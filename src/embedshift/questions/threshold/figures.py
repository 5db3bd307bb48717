"""Figure 30: matches found against queries with a false match, by score, with the chosen point."""

from matplotlib.figure import Figure

from embedshift.figures.base import FigureInput, figure, has_table
from embedshift.figures.style import FAINT, PALETTE, new_figure
from embedshift.questions.threshold.tables import CURVE


@figure("threshold", section=True, is_available=has_table(CURVE))
def threshold(data: FigureInput, title: str) -> Figure:
    curve = data.need(CURVE)
    words = "best scores of calibration queries as thresholds; a star: the chosen one, of a batch half of which matches"
    is_single = data.need("threshold")["threshold"].null_count() == 0
    drawn = new_figure(data.caption(words.partition(", of")[0] if is_single else words), 5.5, 3.8, title)
    axes = drawn.subplots()
    for colour, ((name,), rows) in zip(PALETTE, curve.group_by("score", maintain_order=True), strict=False):
        axes.plot(rows["wrong"], rows["found"], color=colour, label=str(name), drawstyle="steps-post")
        chosen = rows.filter("chosen")
        axes.plot(chosen["wrong"], chosen["found"], "*", color=colour, markersize=12)
    axes.set_xscale("log")
    axes.set_ylim(0, 1.02)
    axes.grid(color=FAINT)
    axes.set_xlabel("queries without a match that get one")
    axes.set_ylabel("originals found")
    drawn.legend(loc="outside right upper")
    return drawn
