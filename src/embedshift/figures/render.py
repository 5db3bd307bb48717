"""Renders a figure to the bytes of its files and its forms for a page, from one layout.

It needs only matplotlib and Pillow.
"""

import base64
import gzip
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_mixed import MixedModeRenderer
from matplotlib.backends.backend_svg import RendererSVG
from matplotlib.figure import Figure
from PIL import Image

from embedshift.figures import style

DPI = 200

# zlib's level of PNG files: 6 takes twice the time and saves 3 %.
_PNG_LEVEL = 3
# Quality of images inside SVG files, at full colour resolution; smaller ones stay PNG.
_JPEG = {"quality": 92, "subsampling": 0}
_SMALL = 32 * 32
# Fraction of the side at 200 dpi, and WebP quality, best first: the first that fits is taken.
_STEPS = ((1.0, 85), (0.75, 75), (0.5, 65), (0.4, 50), (0.3, 35))


@dataclass(frozen=True)
class PageLimits:
    """The largest address that a page takes for a figure, and whether it shows photographs."""

    room: int
    photographs: bool


@dataclass(frozen=True)
class Rendered:
    files: dict[str, bytes]
    forms: tuple[str, ...] = ()


def render(figure: Figure, formats: Sequence[str], page: PageLimits | None = None) -> Rendered:
    """Renders a figure in some formats, once each; the figure itself is not changed."""
    vector = page is not None and not page.photographs
    wanted = dict.fromkeys((*formats, *(("svg",) if vector else ())))
    engine, dpi, canvas = figure.get_layout_engine(), figure.dpi, figure.canvas
    with style.context():
        try:
            figure.dpi = DPI
            agg: Any = FigureCanvasAgg(figure)
            if engine is not None:
                engine.execute(figure)
            # Otherwise each format would have its own layout, and one more drawing for it.
            figure.set_layout_engine(None)
            _round_positions(figure)
            agg.draw()
            picture = Image.fromarray(np.asarray(agg.buffer_rgba())).convert("RGB")
            files = {name: _WRITERS[name](figure, picture) for name in wanted}
        finally:
            figure.dpi = dpi
            figure.set_layout_engine(engine)
            figure.set_canvas(canvas)
    forms = () if page is None else tuple(_down_to(page.room, _forms(picture, files["svg"] if vector else None)))
    return Rendered({name: files[name] for name in formats}, forms)


def _round_positions(figure: Figure) -> None:
    """Rounds where axes lie: the layout's solver adds up in the order of memory addresses, so last digits vary."""
    for axes in figure.axes:
        in_layout = axes.get_in_layout()
        axes.set_position(np.round(axes.get_position(original=True).bounds, 7).tolist())
        axes.set_in_layout(in_layout)


def address(data: bytes, kind: str) -> str:
    """Returns the bytes as a `data:` address of MIME type `kind`."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _untyped(thing: Any) -> Any:
    """Hides a type, because matplotlib does not type its backends."""
    return thing


def _png(_: Figure, picture: Image.Image) -> bytes:
    return _saved(picture, "PNG", dpi=(DPI, DPI), compress_level=_PNG_LEVEL)


def _svg(figure: Figure, _: Image.Image) -> bytes:
    figure.dpi = 72
    written, (width, height) = io.StringIO(), figure.get_size_inches()
    lines = _untyped(_Photographs)(72 * width, 72 * height, written, image_dpi=DPI, metadata={"Date": None})
    renderer = _untyped(MixedModeRenderer)(figure, width, height, DPI, lines)
    figure.draw(renderer)
    renderer.finalize()
    return written.getvalue().encode()


def _pdf(figure: Figure, _: Image.Image) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="pdf", dpi=DPI, metadata={"CreationDate": None})
    return buffer.getvalue()


_WRITERS: dict[str, Callable[[Figure, Image.Image], bytes]] = {"png": _png, "svg": _svg, "pdf": _pdf}


def _saved(picture: Image.Image, kind: str, **settings: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **settings)
    return buffer.getvalue()


def _forms(picture: Image.Image, svg: bytes | None) -> Iterator[str]:
    """Yields a figure as `data:` addresses, the best first: as packed vectors, then as bitmaps."""
    if svg is not None:
        yield address(gzip.compress(svg, mtime=0), "application/gzip")  # the page unpacks it
    for scale, quality in _STEPS:
        side = [max(1, round(pixels * scale)) for pixels in picture.size]
        small = picture if scale == 1 else picture.resize(side, Image.Resampling.LANCZOS)
        yield address(_saved(small, "WEBP", method=2, quality=quality), "image/webp")


def _down_to(room: int, forms: Iterator[str]) -> Iterator[str]:
    for form in forms:
        yield form
        if len(form) <= room:
            return


class _Photographs(RendererSVG):
    """Writes images inside SVG files as JPEG: as PNG they took most of a file, and most of the time."""

    def draw_image(self, gc: Any, x: float, y: float, im: Any, transform: Any = None) -> None:
        height, width = im.shape[:2]
        if transform is not None or height * width < _SMALL:
            _untyped(super()).draw_image(gc, x, y, im, transform)
            return
        # Rows come from below; pixels at the border are partly transparent.
        white = Image.new("RGBA", (width, height), "white")
        opaque = Image.alpha_composite(white, Image.fromarray(np.ascontiguousarray(im[::-1]))).convert("RGB")
        data = _saved(opaque, "JPEG", **_JPEG)
        across, down = (72 * pixels / self.image_dpi for pixels in (width, height))
        attributes = {"x": x, "y": self.height - y - down, "width": across, "height": down}
        renderer = _untyped(self)
        clip = renderer._get_clip_attrs(gc)
        if clip:
            renderer.writer.start("g", **clip)
        named = {"id": renderer._make_id("image", data), "xlink:href": address(data, "image/jpeg")}
        renderer.writer.element("image", attrib=named | {key: f"{value:.6f}" for key, value in attributes.items()})
        if clip:
            renderer.writer.end("g")
