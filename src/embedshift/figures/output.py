"""Makes the figures of a study: as objects, and as files."""

import dataclasses
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from embedshift.errors import EmbedshiftError, UsageError
from embedshift.figures.base import FIGURES, FigureInput, FigureKind, known_figures
from embedshift.figures.render import render
from embedshift.figures.workers import Renderers
from embedshift.store.files import write_atomically
from embedshift.store.reader import Reader, draw_ids
from embedshift.store.redraw import RedrawnImage, redraw
from embedshift.store.table import record_files

log = logging.getLogger(__name__)

FORMATS = ("png", "svg", "pdf")
# Images on one page of a figure that shows images.
ROWS = 8
Images = int | Sequence[str] | None


def draw(reader: Reader, name: str, *, images: Images = None) -> Figure:
    kind = FIGURES[name]
    return kind.draw(FigureInput(reader, _drawn(reader, kind, images)))


def save_figures(
    reader: Reader,
    names: Sequence[str] | None = None,
    formats: Sequence[str] = ("png", "svg"),
    *,
    images: Images = None,
) -> list[Path]:
    check_formats(formats)
    data = FigureInput(reader)
    chosen = [kind.name for kind in study_figures(data, names)]
    figures = ((stem, figure, None) for _, stem, figure in iter_figures(data, chosen, images=images))
    with Renderers(len(chosen)) as renderers:
        files = {
            f"figures/{stem}.{ending}": write(content, reader.folder / "figures" / f"{stem}.{ending}")
            for stem, rendered in renderers.render_all(figures, formats)
            for ending, content in rendered.files.items()
        }
    record_files(reader.folder, files)
    return sorted(reader.folder / name for name in files)


def check_formats(formats: Sequence[str]) -> None:
    if not formats:
        raise UsageError(f"`formats` is empty; choose from {', '.join(FORMATS)}")
    for unknown in [name for name in formats if name not in FORMATS]:
        raise UsageError(f"unknown figure format {unknown!r}; known: {', '.join(FORMATS)}")


def study_figures(data: FigureInput, names: Sequence[str] | None = None) -> list[FigureKind]:
    """Returns the figures of a study in the order of the paper; if images may not be shown, those without images."""
    questions = {question.name for question in data.reader.questions}
    return [
        kind
        for kind in known_figures(names)
        if (names is not None or (kind.question in questions and kind.is_available(data)))
        and (data.reader.shows_images or kind.without_images or not kind.shows_images)
    ]


def iter_figures(
    data: FigureInput, names: Sequence[str] | None = None, *, images: Images = None
) -> Iterator[tuple[FigureKind, str, Figure]]:
    """Yields figures page by page, each with its file's name without the ending; first those without images."""
    if not data.reader.shows_images:
        for kind in known_figures(None):
            _remove(data.reader, f"{kind.stem}*")
    # Those with images take longest to draw: meanwhile the others are rendered.
    for kind in sorted(study_figures(data, names), key=lambda kind: kind.shows_images):
        try:
            for page, figure in enumerate(_pages(data, kind, images), start=1):
                yield kind, kind.stem if page == 1 else f"{kind.stem}_p{page}", figure
        except UsageError:  # the user asked for something that does not exist
            raise
        except EmbedshiftError as error:
            for pages in ("", "_p*"):  # of an earlier report
                _remove(data.reader, f"{kind.stem}{pages}.*")
            log.warning("skipping figure '%s': %s", kind.name, str(error).removeprefix(f"figure '{kind.name}': "))


def _remove(reader: Reader, pattern: str) -> None:
    for old in (reader.folder / "figures").glob(pattern):
        old.unlink()


def save(figure: Figure, path: Path) -> Path:
    """Writes a figure in the format of the path's ending; equal figures give equal bytes."""
    ending = path.suffix.removeprefix(".")
    write(render(figure, [ending]).files[ending], path)
    return path


def write(content: bytes, path: Path) -> str:
    return write_atomically(path, lambda hidden: hidden.write_bytes(content))


def _pages(data: FigureInput, kind: FigureKind, images: Images) -> Iterator[Figure]:
    drawn = _drawn(data.reader, kind, images)
    if not kind.shows_images or kind.without_images:
        yield kind.draw(dataclasses.replace(data, drawn=drawn))
        return
    _remove(data.reader, f"{kind.stem}_p*")
    for start in range(0, max(1, len(drawn)), ROWS):
        yield kind.draw(dataclasses.replace(data, drawn=drawn[start : start + ROWS]))


def _drawn(reader: Reader, kind: FigureKind, images: Images) -> tuple[RedrawnImage, ...]:
    if not kind.shows_images or not reader.shows_images:
        return ()
    chosen = kind.images if images is None else images
    if kind.without_images or kind.single:  # it shows only what it needs
        chosen = kind.images if isinstance(chosen, int) else list(chosen)[: kind.images]
    if isinstance(chosen, int) and kind.candidates is not None:
        chosen = draw_ids(kind.candidates(reader), chosen, reader.info.seed)
    if isinstance(chosen, int):
        chosen = reader.sample_ids(chosen, with_attention=kind.shows_attention)
    drawn, missing = redraw(reader, chosen)
    if kind.shows_attention and not reader.info.has_vectors and reader.info.encoder.grid:
        missing |= {i.image_id: "its attention is not stored (`store` metrics)" for i in drawn if not i.attention}
        drawn = [image for image in drawn if image.attention]
    for image, reason in missing.items():
        log.warning("figure '%s' omits %s: %s", kind.name, image, reason)
    return tuple(drawn)
