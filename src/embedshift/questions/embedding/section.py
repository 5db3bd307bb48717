"""The report's first section: the answers, and the distributions of cosine and L2."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from markupsafe import Markup

from embedshift.arrays import Values
from embedshift.figures import FigureInput
from embedshift.figures.style import metric_label
from embedshift.questions.embedding.answer import how_far, is_significant, scale_of, which_images
from embedshift.registry import METRICS
from embedshift.report import searches
from embedshift.report.charts import ROW_PIXELS, escaped, layout_of, short
from embedshift.report.numbers import fixed, places_of
from embedshift.report.section import Chart, PageInput, Part, Plot, Section
from embedshift.report.tolerances import sentences
from embedshift.statistics.density import density
from embedshift.statistics.families import ONE_LEVEL
from embedshift.statistics.layout import blocks, layout
from embedshift.statistics.summary import COSINE, FAR

CHARTS = {"cosine": ("cosine_similarity", "Cosine similarity"), "l2": ("l2_distance", "L2 distance")}
# Every third of the 400 points of a curve: the eye sees no difference, and the page is smaller.
THIN = 3


def section(page: PageInput) -> Section:
    """Returns the section: the answers to the report's questions, and the ruler."""
    data, cross = page.data, page.data.table("shifts")
    order = by_cosine(data.summary)
    moved = furthest(data.rows, data.summary, order)
    moved = moved.with_columns(pl.col("image_id").map_elements(page.reader.naming.image, pl.String))
    link = "#gallery" if any(each.name == "examples" for each in page.reader.questions) else ""
    images = int(data.statistic("images", COSINE).min(initial=data.images))
    relative_to_others = (
        {} if cross is None else dict(cross.select("augmentation", "relative_to_others").drop_nulls().iter_rows())
    )
    how = how_far(data.summary, page.encoder, images, relative_to_others)
    significant = is_significant(data.table("differences"), order, images)
    given_way, search, largest = _tolerances(page, images), _search(page), which_images(moved, link)
    if given_way and data.shows_one_level:  # how far one moves, and before which other, is a choice of the level
        how, significant, search, largest = [], [], [], []
    answers = {
        "How strong a change does the embedding tolerate?": given_way,
        "How far does the embedding move?": how,
        "Does image search still find the original?": search,
        "Which differences are statistically significant?": significant,
        "Which images have the largest shift?": largest,
    }
    content = {
        "answers": {title: text for title, text in answers.items() if text},
        "ruler": page.figures.get("tolerance" if data.shows_one_level else "ruler"),
        "one_level": ONE_LEVEL if data.shows_one_level else "",
    }
    return Section("answer", "Main results", 10, content)


def _tolerances(page: PageInput, images: int) -> list[Markup]:
    """Describes at which strength families of changes move the embedding; empty without families or without a scale."""
    table = page.data.table("tolerance")
    baselines = page.data.summary.filter((pl.col("metric") == COSINE) & pl.col("relative_shift").is_not_null())[
        "baseline"
    ]
    if table is None or baselines.is_empty():
        return []
    return [*sentences(table, page.encoder, "#tolerances"), scale_of(baselines[0], images)]


def _search(page: PageInput) -> list[Markup]:
    """Describes how often a search finds the original first; empty if the study has no search."""
    table = page.data.table("search")
    if table is None:
        return []
    note = searches.warning(page.info, page.encoder)
    found = searches.sentences(table, searches.among(page.reader, page.data.images))
    return [*found, *([Markup("{}").format(note)] if note and found else [])]


def by_cosine(summary: pl.DataFrame) -> list[str]:
    """Returns the augmentations that have a mean cosine similarity, the one that moves most first."""
    cosine = summary.filter((pl.col("metric") == COSINE) & pl.col("mean").is_not_null())
    return cosine.sort("mean", maintain_order=True)["augmentation"].to_list()


def furthest(rows: pl.LazyFrame, summary: pl.DataFrame, order: Sequence[str]) -> pl.DataFrame:
    """How many images each augmentation moves over half the distance to another image, and the furthest."""
    baselines = summary.filter((pl.col("metric") == COSINE) & pl.col("relative_shift").is_not_null())["baseline"]
    far, having = (dict.fromkeys(order if len(baselines) else (), 0) for _ in range(2))
    first: dict[str, tuple[float, str]] = {}
    shape = layout(rows)
    for block in blocks(rows.select("image_id", COSINE), len(shape.views)) if far and shape.images else ():
        ids = block["image_id"].gather_every(len(shape.views))
        for name in order:
            sums, counts = shape.per_image(block, name, [COSINE])
            with np.errstate(invalid="ignore", divide="ignore"):
                relative_shifts = (1.0 - sums[:, 0] / counts[:, 0]) / (1.0 - baselines[0])
            far[name] += int((relative_shifts > FAR).sum())
            having[name] += int(np.isfinite(relative_shifts).sum())
            if np.isfinite(relative_shifts).any():
                largest = float(np.nanmax(relative_shifts))
                tied = ids.filter(pl.Series(relative_shifts == largest)).min()
                # Of equal relative shifts the first name, whatever the order of the images.
                here = (-largest, str(tied))
                first[name] = min(first.get(name, here), here)
    found = [(name, having[name], far[name], first[name][1], -first[name][0]) for name in order if name in first]
    schema = {"augmentation": pl.String, **dict.fromkeys(("images", "far"), pl.Int64), "image_id": pl.String}
    schema |= {"relative_shift": pl.Float64}
    return pl.DataFrame(found, schema=schema, orient="row")


def charts(page: PageInput) -> Iterator[Chart]:
    """Yields a ridge chart for cosine and one for L2."""
    for name, (metric, title) in CHARTS.items():
        yield Chart(name, title, distributions(page.data, metric))


def distributions(data: FigureInput, metric: str) -> Plot:
    """Returns one ridge per augmentation, all equally high, with mean and 95 % interval, the least changed on top."""
    facts = METRICS[metric]
    described = {row["augmentation"]: row for row in data.summary.iter_rows(named=True) if row["metric"] == metric}
    shown = [name for name in data.by_rank() if described[name]["mean"] is not None]
    traces: list[Plot] = []
    for place, name in enumerate(shown):
        curve = density(data.values(name, metric), facts.low, facts.high)
        if curve is not None:
            traces.append(_ridge(curve[0][::THIN], curve[1][::THIN], place, data.colours[name]))
    traces.append(_means([described[name] for name in shown], metric, [data.colours[name] for name in shown]))
    layout = layout_of(len(shown), metric_label(metric), [escaped(name) for name in shown])
    layout["hovermode"], layout["hoverdistance"] = "y", ROW_PIXELS
    if facts.low == 0:
        layout["xaxis"]["rangemode"] = "tozero"
    return {"data": traces, "layout": layout}


def _ridge(x: Values, y: Values, place: int, colour: str) -> Plot:
    tops = place - 0.86 * y / y.max()  # the axis points down
    outline_x, outline_y = np.concatenate([x, x[::-1]]), np.concatenate([tops, np.full(len(x), place)])
    return {
        "type": "scatter", "mode": "lines", "fill": "toself", "hoverinfo": "skip", "showlegend": False,
        "x": short(outline_x), "y": short(outline_y),
        "line": {"color": colour, "width": 1.2},
    }  # fmt: skip


def _means(rows: Sequence[Mapping[str, Any]], metric: str, colours: Sequence[str]) -> Plot:
    places = places_of(metric, max((row["mean"] for row in rows), default=None))
    texts = []
    for row in rows:
        value = {key: fixed(row[key], places) for key in ("mean", "ci_low", "ci_high", "sd", "median", "q05", "q95")}
        interval = "" if row["ci_low"] is None else f" (95 % interval {value['ci_low']} to {value['ci_high']})"
        texts.append(
            f"<b>{escaped(row['augmentation'])}</b><br>mean {value['mean']}{interval}<br>"
            f"single views: median {value['median']}, sd {value['sd']}<br>"
            f"5 % to 95 % quantile: {value['q05']} to {value['q95']}<br>{row['n']:,} views of {row['images']:,} images"
        )
    ends = [
        (row["mean"], *(row["mean"] if row[end] is None else row[end] for end in ("ci_low", "ci_high"))) for row in rows
    ]
    return {
        "type": "scatter", "mode": "markers", "showlegend": False, "hovertemplate": "%{text}<extra></extra>",
        "x": [row["mean"] for row in rows], "y": list(range(len(rows))), "text": texts,
        "marker": {"size": 7, "color": list(colours)},
        "error_x": {
            "type": "data", "symmetric": False, "thickness": 1.5, "width": 3,
            "array": [high - mean for mean, _, high in ends], "arrayminus": [mean - low for mean, low, _ in ends],
        },
    }  # fmt: skip


TERMS = {
    "cosine similarity": "The cosine of the angle between two embeddings: 1 = same direction, 0 = right angle.",
    "L2 distance": "The Euclidean distance between two embeddings, in the encoder's own units.",
    "ruler": "The figure that shows the relative shift of every augmentation, from unchanged (0) to another image (1).",
}

PART = Part(section, charts, TERMS)
