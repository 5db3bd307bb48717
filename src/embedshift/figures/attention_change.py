"""What becomes of attention: every metric of it that the study has, side by side."""

import numpy as np
from matplotlib.figure import Figure

from embedshift.errors import EmbedshiftError
from embedshift.figures.base import FigureInput, figure
from embedshift.figures.style import INK, MUTED, human, new_figure, wrap
from embedshift.metrics import METRICS

PLAIN, ALIGNED = "attention_similarity", "aligned_attention_similarity"
ORDER = (PLAIN, ALIGNED, "rollout_similarity", "attention_divergence", "attention_entropy_rise")
INCHES = 2.1
NOTHING = (
    "no metric of attention but the paper's has a value here; run an encoder that has attention with "
    "--metrics attention,aligned,rollout"
)


@figure("attention_change", "11", "Does the encoder still look at the same things?", needs="attention_metrics")
def attention_change(data: FigureInput, title: str) -> Figure:
    """A panel per metric; in it a dot per augmentation with its interval, the least changed on top.

    Where attention was aligned, the hollow dots beside it are the means without that.
    """
    shown = [metric for metric in ORDER if metric in (data.attention_metrics or ())]
    if not shown:
        raise EmbedshiftError(NOTHING, exit_code=2)
    names = data.by_rank()
    place = [data.augmentations.index(name) for name in names]
    colours = [data.colours[name] for name in names]
    hollow = "; hollow: without alignment" if {PLAIN, ALIGNED} <= {*shown} else ""
    caption = data.caption(f"dot: mean; line: its 95 % interval; dashed: no change{hollow}")
    figure = new_figure(caption, INCHES * len(shown) + 1.4, 1.2 + 0.27 * len(names), title)
    panels = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    rows = np.arange(len(names))
    for axes, metric in zip(panels, shown, strict=True):
        mean, low, high = (data.statistic(name, metric)[place] for name in ("mean", "ci_low", "ci_high"))
        axes.axvline(METRICS[metric].no_change, color=MUTED, linewidth=0.8, linestyle="--")
        if metric == ALIGNED and hollow:
            plain = data.statistic("mean", PLAIN)[place]
            axes.plot(plain, rows, "o", markersize=5, markerfacecolor="none", color=MUTED, markeredgewidth=0.8)
        axes.hlines(rows, low, high, color=INK, linewidth=1.2)
        axes.scatter(mean, rows, s=22, c=colours, zorder=3)
        known = METRICS[metric]
        axes.set_xlabel(f"{wrap(known.label, INCHES)}\n({known.no_change:g} = no change)")
        axes.tick_params(axis="y", length=0)
        axes.locator_params(axis="x", nbins=4)
        axes.grid(axis="x")
    alike = [axes for axes, metric in zip(panels, shown, strict=True) if METRICS[metric].higher_is_better]
    for axes in alike:
        axes.set_xlim(min(one.get_xlim()[0] for one in alike), max(one.get_xlim()[1] for one in alike))
    panels[0].set_yticks(rows, [human(name) for name in names])
    panels[0].set_ylim(len(names) - 0.4, -0.6)
    return figure
