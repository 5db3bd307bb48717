"""One self-contained HTML file from tables, figures and a sample of thumbnails; nothing here imports torch."""

import dataclasses
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from embedshift import shards
from embedshift.clusters import DEFAULT_TREE, Tree
from embedshift.encoders import TITLES
from embedshift.errors import EmbedshiftError
from embedshift.figures import FIGURES, FigureInput, check_formats, figure_input, iter_figures, save
from embedshift.report import charts, depth, facts, looks, page, paper_figures, text
from embedshift.report.answer import answer
from embedshift.report.extremes import Gallery, build_gallery
from embedshift.report.paper_figures import DrawnFigure, EmbeddedFigure
from embedshift.results import Study

__all__ = ["build_report"]

log = logging.getLogger(__name__)

# Of 10 MB: plotly takes 4.8, these the rest but for the words.
FIGURE_BYTES = 1_900_000
GALLERY_BYTES = 2_600_000
# Pages of a figure with pictures that the file holds; all of them lie in `figures/`.
EMBEDDED_PAGES = 2
CHARTS = {"cosine": "cosine_similarity", "l2": "l2_distance"}


def build_report(
    study: Study,
    *,
    figures: Sequence[str] | None = None,
    formats: Sequence[str] = ("png", "svg"),
    tree: Tree = DEFAULT_TREE,
    images: Sequence[str] | int | None = None,
    thumbnails: bool = True,
) -> Path:
    """Rebuilds everything after the shards: tables, figures and `report.html`, in this order.

    Args:
        study: Finished, or not: the report then is of the shards that are there, and says so.
        figures: Names in `embedshift.figures.FIGURES`; None = all.
        formats: Endings of the files in `figures/`: png, svg, pdf.
        tree: How augmentations are clustered.
        images: For figures that show pictures: ids, or how many to draw by the study's seed.
        thumbnails: Whether pictures may be shown: without, neither the file nor `figures/` gets any.

    Returns:
        The path of `report.html`: one file, at most 10 MB whatever the number of images, that loads nothing.

    Raises:
        EmbedshiftError: when nothing is measured yet, or for an unknown figure, format or image.
    """
    check_formats(formats)
    for name in figures or ():
        FIGURES[name]
    records = shards.finished(study.folder)
    measured = sum(record.images for record in records)
    if not measured:
        raise EmbedshiftError(f"{study.folder}: nothing is measured yet; run the study first", exit_code=2)
    shards.write_failures(study.folder, records)
    study.write_tables(tree)
    data = dataclasses.replace(figure_input(study, tree), images=measured)
    log.info("drawing the figures")
    drawn = list(_draw(study, data, figures, formats, images=images, pictures=thumbnails))
    log.info("writing the report")
    gallery = build_gallery(study, data.by_rank()[::-1], thumbnails=thumbnails, budget=GALLERY_BYTES)
    html = page.render(**_content(study, data, records, drawn, gallery, thumbnails))
    path = study.folder / "report.html"
    # A name may hold bytes that are not UTF-8: they are written as they are read, escaped.
    shards.write_whole(path, lambda hidden: hidden.write_bytes(html.encode("utf-8", "backslashreplace")))
    return path


def _draw(
    study: Study,
    data: FigureInput,
    names: Sequence[str] | None,
    formats: Sequence[str],
    *,
    images: Sequence[str] | int | None,
    pictures: bool,
) -> Iterator[DrawnFigure]:
    """Saves every figure, and gives those for the page."""
    pages: dict[str, int] = {}
    for paper, stem, figure in iter_figures(study, data, names, images=images, pictures=pictures):
        saved = {ending: save(figure, study.folder / "figures" / f"{stem}.{ending}") for ending in formats}
        pages[paper.name] = pages.get(paper.name, 0) + 1
        if pages[paper.name] <= EMBEDDED_PAGES:
            yield paper_figures.drawn(paper, figure, saved)


def _content(
    study: Study,
    data: FigureInput,
    records: Sequence[shards.ShardRecord],
    drawn: Sequence[DrawnFigure],
    gallery: Gallery,
    thumbnails: bool,
) -> dict[str, Any]:
    """What the templates show."""
    info = study.info()
    encoder = TITLES.get(info["encoder"]["name"], info["encoder"]["name"])
    embedded, too_large = paper_figures.embed(drawn, FIGURE_BYTES)
    own = {figure.name: figure for figure in embedded if FIGURES[figure.name].needs}
    figures = [figure for figure in embedded if figure.name not in own]
    plots = {name: charts.distributions(data, metric) for name, metric in CHARTS.items()}
    titles = {"cosine": "Cosine similarity", "l2": "L2 distance", "tree": "Tree of augmentations"}
    tree = charts.dendrogram(data)
    failures, more_failures = facts.listed_failures(records)
    claims = page.claim_rows(study.claims())
    clusters = dict(data.clusters.select("augmentation", "cluster").iter_rows())
    order = data.by_rank()[::-1]
    if tree is not None:
        plots["tree"] = tree
    return {
        "info": info,
        "encoder": encoder,
        "headline": facts.headline(info, data.images),
        "unfinished": None if info["complete"] else (data.images, info["counts"]["images"]),
        "answer": answer(data.summary, encoder, data.images),
        "table": page.summary_table(data.summary, data.ranking, clusters, study.metrics, data.colours),
        "has_attention": info["encoder"]["grid"] is not None,
        "claims": claims,
        "verdicts": page.verdict_counts(claims),
        "charts": [(name, titles[name]) for name in plots],
        "looks": _looks(data, info) | {"figure": own.get("attention_change")} if data.attention_metrics else None,
        "layers": None if data.layers is None else depth.section(data.layers) | {"figure": own.get("depth")},
        "text": _text(data, info, own) if "text" in info["identity"] else None,
        "figures": figures,
        "figure_note": page.figure_note(len(figures), too_large),
        "order": order,
        "groups": page.gallery_groups(gallery, order, data.colours),
        "gallery_notes": page.gallery_notes(gallery, thumbnails, study.has_vectors),
        "facts": facts.facts(info, records, encoder),
        "failures": failures,
        "more_failures": more_failures,
        "augmentations": facts.augmentation_lines(info),
        "configuration": facts.configuration(info),
        "data": {"charts": plots, "pictures": gallery.pictures},
    }


def _looks(data: FigureInput, info: dict[str, Any]) -> dict[str, Any]:
    """The section on attention, with whose attention it is, in words."""
    kind = facts.ATTENTION.get(info["encoder"]["attention_kind"] or "", "the mean over heads")
    return looks.section(data.summary, data.attention_metrics or ()) | {"kind": kind}


def _text(data: FigureInput, info: dict[str, Any], figures: Mapping[str, EmbeddedFigure]) -> dict[str, Any]:
    """The section on texts, with its figures."""
    shown = {"figure": figures.get("text"), "words_figure": figures.get("words")}
    return text.section(info["identity"]["text"], data.word_test) | shown
