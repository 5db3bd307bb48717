"""Builds a report: tables, figures, and the page from the sections of a study's questions."""

import itertools
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from embedshift.config.processes import one_thread
from embedshift.errors import UsageError
from embedshift.figures import FigureInput, FigureKind, check_formats, iter_figures, study_figures
from embedshift.figures.base import known_figures
from embedshift.figures.output import ROWS, write
from embedshift.figures.render import PageLimits
from embedshift.figures.workers import Renderers
from embedshift.report import facts, page
from embedshift.report.answers import first_screen
from embedshift.report.embedded import DrawnFigure, EmbeddedFigures
from embedshift.report.glossary import glossary
from embedshift.report.section import PageInput, Section, parts_of_page
from embedshift.store import shards
from embedshift.store.files import write_atomically
from embedshift.store.reader import Reader
from embedshift.store.table import record_files
from embedshift.store.tables import update_tables
from embedshift.store.target_width import why_ended

log = logging.getLogger(__name__)

# The page has 4 MB, of which plotly takes 2.
FIGURE_BYTES = 800_000
# Pages of a figure with images that the file holds; all of them lie in `figures/`.
EMBEDDED_PAGES = 2
# Positions of the page's own sections among those of the questions.
ORDER = {"answers": 0, "charts": 40, "figures": 80, "measured": 100, "glossary": 110}

ToRender = tuple[tuple[FigureKind, str, tuple[float, float]], Figure, PageLimits | None]


def build_report(
    reader: Reader,
    *,
    figures: Sequence[str] | None = None,
    formats: Sequence[str] = ("png", "svg"),
    images: Sequence[str] | int | None = None,
    paper: bool = False,
    has_tables: bool = False,
) -> Path:
    """Makes tables, figures and `report.html` again, in this order; no tables right after the run that wrote them."""
    check_formats(formats)
    records = reader.records
    measured = sum(record.images for record in records)
    if not measured:
        raise UsageError(f"{reader.folder}: no image is measured yet; run the study first")
    with Renderers(len(known_figures(figures))) as renderers:  # they start while the tables are made
        reader = reader if has_tables else update_tables(reader)
        failures = shards.write_failures(reader.folder, records)
        data = FigureInput(reader)
        if reader.pictures and reader.unseen:
            log.warning("%s; give the folder that contains them as `images_root`", reader.unseen)
        with one_thread():
            log.info("drawing the figures")
            drawn, files = _draw(data, figures, formats, renderers, images=images)
            log.info("writing the report")
            encoder = reader.naming.setting(reader.info.encoder.title or reader.info.encoder.name)
            is_papers = paper or (reader.info.config.get("augmentations") == "paper" and "clip" in encoder.lower())
            shown = EmbeddedFigures(drawn, FIGURE_BYTES)
            html = _page(PageInput(data, encoder, shown, records, is_papers), shown)
    path = reader.folder / "report.html"
    # A name may hold bytes that are not UTF-8: they are written as they are read, escaped.
    content = html.encode("utf-8", "backslashreplace")
    files[path.name] = write_atomically(path, lambda hidden: hidden.write_bytes(content))
    record_files(reader.folder, files | failures)
    return path


def _draw(
    data: FigureInput,
    names: Sequence[str] | None,
    formats: Sequence[str],
    renderers: Renderers,
    *,
    images: Sequence[str] | int | None,
) -> tuple[Iterable[DrawnFigure], dict[str, str]]:
    """Draws every figure; returns those for the page, and the checksums of all files once these are rendered."""
    kinds = study_figures(data, names)
    several_pages = images is not None and (images if isinstance(images, int) else len(images)) > ROWS
    slots = sum(EMBEDDED_PAGES if several_pages and kind.shows_images else 1 for kind in kinds)
    pages: Counter[str] = Counter()
    files: dict[str, str] = {}
    all_drawn = False

    def to_render() -> Iterator[ToRender]:
        nonlocal all_drawn
        for kind, stem, figure in iter_figures(data, [kind.name for kind in kinds], images=images):
            pages[kind.name] += 1
            shown = PageLimits(FIGURE_BYTES // slots, kind.shows_images) if pages[kind.name] <= EMBEDDED_PAGES else None
            width, height = figure.get_size_inches()
            yield (kind, stem, (float(width), float(height))), figure, shown
        all_drawn = True

    def saved() -> Iterator[DrawnFigure]:
        for (kind, stem, inches), rendered in renderers.render_all(to_render(), formats):
            for ending, content in rendered.files.items():
                name = f"figures/{stem}.{ending}"
                files[name] = write(content, data.reader.folder / name)
            if rendered.forms:
                yield DrawnFigure(kind, inches, rendered.forms)

    rest, done = saved(), list[DrawnFigure]()
    for figure in rest:
        done.append(figure)
        if all_drawn:
            break
    return itertools.chain(done, rest), files


def _page(given: PageInput, figures: EmbeddedFigures) -> str:
    info, measured = given.info, given.data.images
    parts = [part for _, part in parts_of_page(given.reader.questions)]
    # What shows no figure comes first: meanwhile the last ones are rendered.
    answers, settings = first_screen(given), facts.measured(given)
    charts = [chart for part in parts if part.charts for chart in part.charts(given)]
    question_sections = page.question_sections(given)
    embedded, too_large = figures.fitted
    shown = [figure for figure in embedded if not figure.kind.section]
    papers = {"figures": shown, "too_large": too_large, "is_open": given.is_papers}
    report_sections = {
        "answers": answers,
        "charts": Section("distributions", "Distributions", {"charts": charts}),
        "figures": Section("figures", "The paper's figures", papers, is_last=not given.is_papers),
        "measured": settings,
        "glossary": glossary(given.reader.questions, [placed.order for placed in question_sections]),
    }
    placed_sections = [
        page.PlacedSection(ORDER[name], section, page.fill(f"{name}.html.j2", section.content))
        for name, section in report_sections.items()
        if info.augmentations or name not in ("charts", "figures")
    ]
    pictures = {key: address for placed in question_sections for key, address in placed.section.images.items()}
    return page.render(
        [*question_sections, *placed_sections],
        encoder=given.encoder,
        version=info.embedshift,
        augmentations=len(info.augmentations),
        headline=facts.headline(info, measured),
        unseen=given.reader.unseen if given.reader.pictures else "",
        unfinished=None if info.complete else (measured, info.counts.images),
        ended=why_ended(info).replace("`", ""),
        data={"charts": {chart.id: chart.plot for chart in charts}, "pictures": pictures},
    )
