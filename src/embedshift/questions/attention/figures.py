"""Figures 1 and 11: attention maps, and how augmentations change them."""

import numpy as np
from matplotlib.figure import Figure

from embedshift.arrays import Pixels
from embedshift.augmentations import ORIGINAL
from embedshift.errors import EmbedshiftError, UsageError
from embedshift.figures.base import FigureInput, figure
from embedshift.figures.shared import drawn_images, name_rows, overlay, page
from embedshift.figures.style import INK, MUTED, human, new_figure, wrap
from embedshift.questions.attention import ALIGNED, DIVERGENCE, PLAIN, RISE, ROLLOUT
from embedshift.registry import METRICS
from embedshift.store.redraw import RedrawnImage

ORDER = (PLAIN, ALIGNED, ROLLOUT, DIVERGENCE, RISE)
INCHES = 2.1
NOTHING = (
    "this study has no optional metric of attention; run an encoder with attention and "
    "`metrics` attention,aligned,rollout"
)


def metrics_of(data: FigureInput) -> list[str]:
    metrics = data.metrics_needing("attention", "aligned", "rollout")
    return metrics if any(METRICS[name].optional for name in metrics) else []


@figure("attention_change", section=True, is_available=metrics_of)
def attention_change(data: FigureInput, title: str) -> Figure:
    """One panel per metric; one dot per augmentation with its interval, the least changed on top."""
    shown = [metric for metric in ORDER if metric in metrics_of(data)]
    if not shown:
        raise UsageError(NOTHING)
    names = data.by_rank()
    order = [data.augmentations.index(name) for name in names]
    colours = [data.colours[name] for name in names]
    hollow = "; hollow: without alignment" if {PLAIN, ALIGNED} <= {*shown} else ""
    caption = data.caption(f"dot: mean; line: 95 % interval; dashed: no change{hollow}")
    figure = new_figure(caption, INCHES * len(shown) + 1.4, 1.2 + 0.27 * len(names), title)
    panels = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    rows = np.arange(len(names))
    for axes, metric in zip(panels, shown, strict=True):
        mean, low, high = (data.statistic(name, metric)[order] for name in ("mean", "ci_low", "ci_high"))
        axes.axvline(METRICS[metric].no_change, color=MUTED, linewidth=0.8, linestyle="--")
        if metric == ALIGNED and hollow:
            plain = data.statistic("mean", PLAIN)[order]
            axes.plot(plain, rows, "o", markersize=5, markerfacecolor="none", color=MUTED, markeredgewidth=0.8)
        axes.hlines(rows, low, high, color=INK, linewidth=1.2)
        axes.scatter(mean, rows, s=22, c=colours, zorder=3)
        definition = METRICS[metric]
        axes.set_xlabel(f"{wrap(definition.label, INCHES)}\n({definition.no_change:g} = no change)")
        axes.tick_params(axis="y", length=0)
        axes.locator_params(axis="x", nbins=4)
        axes.grid(axis="x")
    similarities = [axes for axes, metric in zip(panels, shown, strict=True) if METRICS[metric].higher_is_better]
    for axes in similarities:
        axes.set_xlim(
            min(panel.get_xlim()[0] for panel in similarities), max(panel.get_xlim()[1] for panel in similarities)
        )
    name_rows(panels[0], [human(name) for name in names])
    return figure


@figure("attention", images=4, shows_attention=True)
def attention(data: FigureInput, title: str) -> Figure:
    if not any(image.attention for image in data.drawn) and data.drawn:
        raise EmbedshiftError("figure 'attention': this encoder provides no attention")
    rows = [
        [(image.views[ORIGINAL], ORIGINAL), (_overlay(image, ORIGINAL), "attention, original")]
        + [(_overlay(image, name), name) for name in data.augmentations]
        for image in drawn_images(data, "attention")
    ]
    note = "attention over each view (dark: low, bright: high; each map has its own scale)"
    return page(data, title, note, rows, columns=len(data.augmentations) + 2)


def _overlay(image: RedrawnImage, name: str) -> Pixels | None:
    if name not in image.views or name not in image.attention:
        return None
    return overlay(image.views[name], image.attention[name])
