"""Figure 3: means as colours."""

import numpy as np
from matplotlib.figure import Figure

from embedshift.figures.base import FigureInput, figure
from embedshift.figures.matrix import annotation, cells, colour_bar, column_width
from embedshift.figures.style import column_names, new_figure
from embedshift.registry import METRICS


@figure("heatmap")
def heatmap(data: FigureInput, title: str) -> Figure:
    """Means of the radar metrics by augmentation, columns sorted by mean performance, which stands above them."""
    metrics, means = data.performance()
    names = data.by_rank()
    values = means[:, [data.augmentations.index(name) for name in names]]
    inches = column_width(len(names))
    height = 0.42 * len(metrics) + column_names(names, inches)[2] + 1.2
    figure = new_figure(data.caption_of_means("means"), inches * len(names) + 2.3, height, title)
    axes = figure.subplots()
    rows = [METRICS[metric].label for metric in metrics]
    mesh = cells(axes, values, rows, names, inches, **annotation(len(names)))
    average = dict(data.ranking.select("augmentation", "mean_performance").iter_rows())
    # With functions that can be pickled; its own cannot.
    above = axes.secondary_xaxis("top", functions=(np.positive, np.positive))
    digits = 3 if len(names) <= 12 else 2
    shown = ["n/a" if average[name] is None else f"{average[name]:.{digits}f}" for name in names]
    above.set_xticks(np.arange(len(names)) + 0.5, shown, fontsize=8 if len(names) <= 12 else 7, fontweight="bold")
    above.tick_params(length=0)
    above.spines["top"].set_visible(False)
    above.set_xlabel("mean performance", loc="left")
    colour_bar(figure, mesh, axes, "mean (1 = no change)")
    return figure
