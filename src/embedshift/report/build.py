"""Builds a report: tables, figures, and the page from the sections of a study's questions."""

import gzip
import io
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from embedshift.config.processes import OBJECTS, collecting_garbage_after, one_thread
from embedshift.errors import UsageError
from embedshift.figures import FigureInput, FigureKind, check_formats, iter_figures
from embedshift.figures.output import render, write
from embedshift.report import page
from embedshift.report.head import head
from embedshift.report.own_sections import answers, glossary, settings
from embedshift.report.section import EmbeddedFigure, PageInput, Section, address, parts_of_page
from embedshift.store import shards
from embedshift.store.files import write_atomically
from embedshift.store.reader import Reader
from embedshift.store.table import record_files
from embedshift.store.tables import update_tables
from embedshift.store.target_width import why_ended

log = logging.getLogger(__name__)

# The page has 4 MB, of which plotly takes 2.
FIGURE_BYTES = 700_000
# Smaller vector graphics always fit, so that no bitmap is drawn of them.
SMALL = 30_000
# Pages of a figure with images that the file holds; all of them lie in `figures/`.
EMBEDDED_PAGES = 2
# Fraction of the side at 200 dpi, and WebP quality, best first: the first that fits is taken.
BITMAPS = ((1.0, 85), (0.75, 75), (0.5, 65), (0.4, 50), (0.3, 35))
# Positions of the page's own sections among those of the questions.
ORDER = {"answers": 0, "charts": 40, "figures": 80, "measured": 100, "glossary": 110}


def build_report(
    reader: Reader,
    *,
    figures: Sequence[str] | None = None,
    formats: Sequence[str] = ("svg",),
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
    with collecting_garbage_after(OBJECTS):
        reader = reader if has_tables else update_tables(reader)
        failures = shards.write_failures(reader.folder, records)
        data = FigureInput(reader)
        if reader.pictures and reader.unseen:
            log.warning("%s; give the folder that contains them as `images_root`", reader.unseen)
        with one_thread():
            log.info("drawing the figures")
            if not page.has_charts():
                log.info("the page has no interactive charts: pip install 'embedshift[charts]'")
            drawn, files = _draw(data, figures, formats, images)
            log.info("writing the report")
            encoder = reader.naming.setting(reader.info.encoder.title or reader.info.encoder.name)
            is_papers = paper or (reader.info.config.get("augmentations") == "paper" and "clip" in encoder.lower())
            embedded, too_large = embed(drawn, FIGURE_BYTES)
            by_name = {figure.kind.name: figure for figure in embedded}
            html = _page(PageInput(data, encoder, by_name, records, is_papers), embedded, too_large)
    path = reader.folder / "report.html"
    # A name may hold bytes that are not UTF-8: they are written as they are read, escaped.
    content = html.encode("utf-8", "backslashreplace")
    files[path.name] = write_atomically(path, lambda hidden: hidden.write_bytes(content))
    record_files(reader.folder, files | failures)
    return path


@dataclass(frozen=True)
class DrawnFigure:
    kind: FigureKind
    inches: tuple[float, float]
    png: bytes
    vectors: str = ""

    def addresses(self) -> Iterator[str]:
        if self.vectors:
            yield self.vectors
        if not self.png:
            return
        with Image.open(io.BytesIO(self.png)) as picture:
            for scale, quality in BITMAPS:
                side = [max(1, round(pixels * scale)) for pixels in picture.size]
                small = picture if scale == 1 else picture.resize(side, Image.Resampling.LANCZOS)
                small.save(buffer := io.BytesIO(), "WEBP", method=2, quality=quality)
                yield address(buffer.getvalue(), "image/webp")


def _draw(
    data: FigureInput, names: Sequence[str] | None, formats: Sequence[str], images: Sequence[str] | int | None
) -> tuple[list[DrawnFigure], dict[str, str]]:
    drawn: list[DrawnFigure] = []
    checksums: dict[str, str] = {}
    pages: Counter[str] = Counter()
    for kind, stem, figure in iter_figures(data, names, images=images):
        pages[kind.name] += 1
        is_embedded = pages[kind.name] <= EMBEDDED_PAGES
        for_page = () if not is_embedded else ("png",) if kind.shows_images else ("svg",)
        files = render(figure, dict.fromkeys((*formats, *for_page)))
        checksums |= write(data.reader.folder, stem, {ending: files[ending] for ending in formats})
        if is_embedded:
            width, height = figure.get_size_inches()
            packed = gzip.compress(files["svg"], mtime=0) if "svg" in for_page else b""  # the page unpacks it
            vectors = address(packed, "application/gzip") if packed else ""
            is_large = not 0 < len(vectors) <= SMALL
            png = (files if "png" in files else render(figure, ["png"]))["png"] if is_large else b""
            drawn.append(DrawnFigure(kind, (float(width), float(height)), png, vectors))
    return drawn, checksums


def embed(figures: Sequence[DrawnFigure], budget: int) -> tuple[list[EmbeddedFigure], int]:
    left, done = budget, dict[int, EmbeddedFigure]()
    # What the smallest leave goes to larger ones, and in the end to figures with images.
    smallest_first = sorted(enumerate(figures), key=lambda one: (not one[1].vectors, len(one[1].vectors or one[1].png)))
    for taken, (position, figure) in enumerate(smallest_first):
        share = left // (len(figures) - taken)
        fitting = next((form for form in figure.addresses() if len(form) <= share), None)
        if fitting is not None:
            left -= len(fitting)
            width, height = (round(96 * inches) for inches in figure.inches)
            done[position] = EmbeddedFigure(figure.kind, fitting, width, height)
    in_order = [done[position] for position in sorted(done)]  # pages of one figure keep theirs
    return sorted(in_order, key=lambda figure: figure.kind.number), len(figures) - len(done)


def _page(given: PageInput, embedded: Sequence[EmbeddedFigure], too_large: int) -> str:
    info, measured = given.info, given.data.images
    parts = [part for _, part in parts_of_page(given.reader.questions)]
    charts = [chart for part in parts if part.charts for chart in part.charts(given)] if page.has_charts() else []
    question_sections = page.question_sections(given)
    shown = [figure for figure in embedded if not figure.kind.section]
    papers = {"figures": shown, "too_large": too_large, "is_open": given.is_papers}
    report_sections = {
        "answers": answers(given),
        "charts": Section("distributions", "Distributions", {"charts": charts}),
        "figures": Section("figures", "The paper's figures", papers, is_last=not given.is_papers),
        "measured": settings(given),
        "glossary": glossary(given.reader.questions, [placed.order for placed in question_sections]),
    }
    placed_sections = [
        page.PlacedSection(ORDER[name], section, page.fill(f"{name}.html.j2", section.content))
        for name, section in report_sections.items()
        if (info.augmentations or name not in ("charts", "figures")) and (charts or name != "charts")
    ]
    pictures = {key: address for placed in question_sections for key, address in placed.section.images.items()}
    return page.render(
        [*question_sections, *placed_sections],
        head=head(given),
        encoder=given.encoder,
        version=info.embedshift,
        augmentations=len(info.augmentations),
        unseen=given.reader.unseen if given.reader.pictures else "",
        unfinished=None if info.complete else (measured, info.counts.images),
        ended=why_ended(info).replace("`", ""),
        data={"charts": {chart.id: chart.plot for chart in charts}, "pictures": pictures},
    )
