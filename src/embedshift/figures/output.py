"""Makes the figures of a study: as objects, and as files, each laid out once for all formats."""

import base64
import dataclasses
import io
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_mixed import MixedModeRenderer
from matplotlib.backends.backend_svg import RendererSVG
from matplotlib.figure import Figure
from PIL import Image

from embedshift.config.processes import OBJECTS, collecting_garbage_after
from embedshift.errors import EmbedshiftError, UsageError
from embedshift.figures import style
from embedshift.figures.base import FIGURES, FigureInput, FigureKind, known_figures
from embedshift.store.files import write_atomically
from embedshift.store.reader import Reader, draw_ids
from embedshift.store.redraw import RedrawnImage, redraw
from embedshift.store.table import record_files

log = logging.getLogger(__name__)

FORMATS = ("png", "svg", "pdf")
DPI = 200
# Images on one page of a figure that shows images.
ROWS = 8
Images = int | Sequence[str] | None

# zlib's level of PNG files: 6 takes twice the time and saves 3 %.
_PNG_LEVEL = 3
# Images inside SVG files, at full colour resolution; those of fewer pixels stay PNG.
_JPEG = {"format": "JPEG", "quality": 92, "subsampling": 0}
_SMALL = 32 * 32


def draw(reader: Reader, name: str, *, images: Images = None) -> Figure:
    kind = FIGURES[name]
    return kind.draw(FigureInput(reader, _drawn(reader, kind, images)))


def save_figures(
    reader: Reader, names: Sequence[str] | None = None, formats: Sequence[str] = ("svg",), *, images: Images = None
) -> list[Path]:
    check_formats(formats)
    files: dict[str, str] = {}
    with collecting_garbage_after(OBJECTS):
        for _, stem, figure in iter_figures(FigureInput(reader), names, images=images):
            files |= write(reader.folder, stem, render(figure, formats))
    record_files(reader.folder, files)
    return sorted(reader.folder / name for name in files)


def save(figure: Figure, path: Path) -> Path:
    ending = path.suffix.removeprefix(".")
    _write(path, render(figure, [ending])[ending])
    return path


def write(folder: Path, stem: str, files: Mapping[str, bytes]) -> dict[str, str]:
    names = {f"figures/{stem}.{ending}": content for ending, content in files.items()}
    return {name: _write(folder / name, content) for name, content in names.items()}


def _write(path: Path, content: bytes) -> str:
    return write_atomically(path, lambda hidden: hidden.write_bytes(content))


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
    if not data.reader.shows_images:
        for kind in known_figures(None):
            _remove(data.reader, f"{kind.stem}*")
    for kind in study_figures(data, names):
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


def render(figure: Figure, formats: Iterable[str]) -> dict[str, bytes]:
    """Returns the content of a figure's file in each format, drawn once for each; empty labels keep a place."""
    engine, dpi, canvas = figure.get_layout_engine(), figure.dpi, figure.canvas
    with style.context():
        try:
            figure.dpi = DPI
            agg = FigureCanvasAgg(figure)
            _place_empty_labels(figure)
            if engine is not None:
                engine.execute(figure)
            # Otherwise each format would have its own layout, and one more drawing for it.
            figure.set_layout_engine(None)
            _round_positions(figure)
            return {ending: _content(figure, agg, ending) for ending in formats}
        finally:
            figure.dpi = dpi
            figure.set_layout_engine(engine)
            figure.set_canvas(canvas)


def _place_empty_labels(figure: Figure) -> None:
    """Gives labels without words a place: otherwise each drawing and each layout measures all ticks to find one."""
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        if not axis.get_label_text():
            axis.set_label_coords(0, 0)


def _round_positions(figure: Figure) -> None:
    """Rounds where axes lie: the layout's solver adds up in the order of memory addresses, so last digits vary."""
    for axes in figure.axes:
        in_layout = axes.get_in_layout()
        axes.set_position(np.round(axes.get_position(original=True).bounds, 7).tolist())
        axes.set_in_layout(in_layout)


def _content(figure: Figure, agg: FigureCanvasAgg, ending: str) -> bytes:
    figure.dpi = DPI
    if ending == "pdf":
        figure.savefig(buffer := io.BytesIO(), format="pdf", dpi=DPI, metadata={"CreationDate": None})
        return buffer.getvalue()
    if ending == "png":
        agg.draw()
        picture = Image.fromarray(np.asarray(agg.buffer_rgba())).convert("RGB")
        return _saved(picture, format="PNG", dpi=(DPI, DPI), compress_level=_PNG_LEVEL)
    figure.dpi = 72  # that of SVG
    (width, height), text = figure.get_size_inches(), io.StringIO()
    renderer: Any = MixedModeRenderer(figure, width, height, DPI, _SmallerSvg(width, height, text))
    figure.draw(renderer)
    renderer.finalize()
    return text.getvalue().encode()


def _saved(picture: Image.Image, **settings: Any) -> bytes:
    picture.save(buffer := io.BytesIO(), **settings)
    return buffer.getvalue()


class _SmallerSvg(RendererSVG):
    """Writes photographs as JPEG: as PNG they take four times the space, and more time than all the rest."""

    def __init__(self, width: float, height: float, text: io.StringIO) -> None:
        RendererSVG.__init__(self, 72 * width, 72 * height, text, image_dpi=DPI, metadata={"Date": None})

    def option_image_nocomposite(self) -> bool:
        return True  # images of one axes would be laid over each other first, at the size of the page

    def draw_image(self, gc: Any, x: float, y: float, im: Any, transform: Any = None) -> None:
        height, width = im.shape[:2]
        if transform is not None or height * width < _SMALL:
            RendererSVG.draw_image(self, gc, x, y, im, transform)
            return
        # Rows come from below; pixels at the border are partly transparent.
        white = Image.new("RGBA", (width, height), "white")
        opaque = Image.alpha_composite(white, Image.fromarray(np.ascontiguousarray(im[::-1]))).convert("RGB")
        jpeg = base64.b64encode(_saved(opaque, **_JPEG)).decode()
        across, down = (72 * pixels / DPI for pixels in (width, height))
        place = {"x": x, "y": self.height - y - down, "width": across, "height": down}
        attributes = {"xlink:href": f"data:image/jpeg;base64,{jpeg}"} | {k: f"{v:.6f}" for k, v in place.items()}
        self.writer.element("image", attrib=attributes)
