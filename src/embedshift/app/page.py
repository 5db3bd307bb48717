"""The page: one image of your own, and the points of a study. This file alone imports Gradio."""

import logging
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

# Before Gradio is imported, which looks at them then: nothing is sent anywhere.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

import fastapi
import gradio as gr
from markupsafe import Markup

from embedshift.app import chart, html
from embedshift.app.changes import Change, all_changes, chosen
from embedshift.app.look import Bench, Original, look, open_original
from embedshift.app.points import RELATIVE_SHIFT, axes, detail, points
from embedshift.app.start import scale_in_words, scale_of
from embedshift.augmentations import rebuild_suite
from embedshift.config.files import read_file
from embedshift.errors import EmbedshiftError, cause
from embedshift.report.numbers import count
from embedshift.sources.base import IMAGE_BYTES
from embedshift.store.reader import Reader

log = logging.getLogger(__name__)
HERE = Path(__file__).parent
STYLES = (HERE.parent / "report" / "template" / "palette.css", HERE / "page.css")
FIRST = "strength: jpeg"
DRAW = "Another number draws the same change once more."
# Steps that come while one is under way: the last of them is answered. Each tab of the page has one event for all its
# fields, so that no answer overtakes a later one.
STEP: dict[str, Any] = {"trigger_mode": "always_last", "show_progress": "hidden", "api_visibility": "private"}


@dataclass(frozen=True)
class Tab:
    """What one browser tab has: its image, and the change that its slider is for."""

    original: Original | None = None
    label: str = FIRST


def make_page(bench: Bench | str, reader: Reader | None) -> gr.Blocks:
    """The page."""
    page: gr.Blocks
    with gr.Blocks(title="embedshift", analytics_enabled=False) as page:
        _html(_head(bench, reader))
        with gr.Tabs():
            with gr.Tab("One image"):
                if isinstance(bench, str):
                    _html(html.note(f"No image of your own can be measured: {bench}", "error"))
                else:
                    suite = None if reader is None else rebuild_suite(reader.info.identity["augmentations"])
                    _OneImage(bench, all_changes(suite)).build()
            if reader is not None:
                with gr.Tab("Study"):
                    _StudyImages(reader).build(page)
    return page


def make_app(page: gr.Blocks, address: tuple[str, int]) -> fastapi.FastAPI:
    """The page as a web application, with local fonts and files alone."""
    fonts = ["system-ui", "-apple-system", "Segoe UI", "Liberation Sans", "DejaVu Sans", "sans-serif"]
    app = fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    mounted: fastapi.FastAPI = gr.mount_gradio_app(
        app, page, path="/", server_name=address[0], server_port=address[1], footer_links=[], run_history=False,
        ssr_mode=False, pwa=False, mcp_server=False, enable_monitoring=False, show_error=False,
        max_file_size=IMAGE_BYTES, css="".join(path.read_text() for path in STYLES),
        theme=gr.themes.Base(font=fonts, font_mono=["ui-monospace", "DejaVu Sans Mono", "monospace"]),
    )  # fmt: skip
    return mounted


class _OneImage:
    """The first tab of the page."""

    def __init__(self, bench: Bench, changes: dict[str, Change]) -> None:
        self.bench, self.changes = bench, changes

    def build(self) -> None:
        """Lays it out, and says what answers to what."""
        first = self.changes[FIRST]
        tab = gr.State(Tab())
        with gr.Row():
            with gr.Column(scale=1, min_width=260):
                upload = gr.File(label="Your image", height=130, elem_id="upload")
                change = gr.Dropdown(list(self.changes), value=FIRST, label="Change", elem_id="change")
                strength = gr.Slider(label="Strength", value=first.first, elem_id="strength", **_of_slider(first))
                draw = gr.Number(label="Draw", value=0, minimum=0, precision=0, elem_id="draw", info=DRAW)
            with gr.Column(scale=2, min_width=260):
                message = _html(html.note("Choose an image of your own. It stays on this machine."), "message")
                with gr.Row():
                    original, view = _html("", "original", "two", 150), _html("", "view", "two", 150)
                answer = _html("", "answer")
        fields: list[Any] = [upload, tab, change, strength, draw]
        steps = [upload.upload, change.input, strength.input, draw.input]
        shown: list[Any] = [upload, tab, strength, message, original, view, answer]
        # Fields come as they are: Gradio would decode the file, and raise on an empty field.
        gr.on(steps, self.answered, fields, shown, preprocess=False, **STEP)

    def answered(self, file: Any, tab: Tab, label: str, parameter: float | None, draw: float | None) -> tuple[Any, ...]:
        """What the fields hold, as the page shows it. A chosen file is deleted at once."""
        slider, drawn = gr.skip(), gr.skip()
        change = self.changes.get(label)
        if change is not None and label != tab.label:  # its slider, and a view at its middle strength
            tab, parameter = replace(tab, label=label), change.first
            slider = gr.Slider(value=parameter, **_of_slider(change))
        if file:
            name = file["orig_name"] or Path(file["path"]).name
            try:
                original = open_original(_read_once(Path(file["path"])), name, self.bench)
            except Exception as error:  # of whatever the file holds
                line = html.note(f"{name}: {cause(error)}", "error")
                return None, tab, slider, line, gr.skip(), gr.skip(), gr.skip()
            tab, drawn = replace(tab, original=original), html.of_original(original)
        message, *shown = self.looked(tab, label, parameter, draw)
        return None if file else gr.skip(), tab, slider, message, drawn, *shown

    def looked(self, tab: Tab, label: str, parameter: float | None, draw: float | None) -> tuple[Any, ...]:
        """A view of the tab's image, and how far it moved: message, view and answer."""
        if tab.original is None:
            return gr.skip(), gr.skip(), gr.skip()
        try:
            if parameter is None or draw is None:  # deleted from its field
                raise EmbedshiftError(f"give the {'draw' if draw is None else 'strength'} as a number")
            change = chosen(self.changes, label)
            found = look(tab.original, change, parameter, self.bench, draw=max(int(draw), 0))
        except Exception as error:  # of whatever draws or encodes
            return html.note(cause(error), "error"), gr.skip(), gr.skip()
        has_map = tab.original.attention is not None
        return "", html.of_look(found), html.answer(found, self.bench.scale, self.bench.unsearched, has_map)


class _StudyImages:
    """The second tab of the page."""

    def __init__(self, reader: Reader) -> None:
        self.reader, self.scale = reader, scale_of(reader)

    def build(self, page: gr.Blocks) -> None:
        """Lays it out, and says what answers to what."""
        names, known = self.reader.augmentations, axes(self.reader)
        start = next((name for name in known if name not in (RELATIVE_SHIFT, "cosine_similarity")), known[-1])
        with gr.Row():
            which = gr.Dropdown(names, value=names[0], label="Augmentation", min_width=140, elem_id="augmentation")
            up = gr.Dropdown(known, value=RELATIVE_SHIFT, label="Vertical axis", min_width=140, elem_id="up")
            across = gr.Dropdown(known, value=start, label="Horizontal axis", min_width=140, elem_id="across")
        with gr.Row():
            holds = gr.Textbox(value="", label="Name contains", min_width=140, elem_id="holds", max_length=300)
            least = gr.Number(label="Relative shift at least", value=0, min_width=140, elem_id="least")
        plot = _html("", "points", js=(HERE / "page.js").read_text())
        shown = _html("", "detail")
        _html(chart.of_failures(self.reader.failures()))
        inputs = [which, across, up, holds, least]
        # Of a text, `input` is typing alone: not what is pasted with the mouse.
        steps = [page.load, *(each.change if each is holds else each.input for each in inputs)]  # type: ignore[attr-defined]
        gr.on(steps, self.plotted, inputs, plot, **STEP)
        plot.select(self.clicked, which, shown, **STEP)

    def plotted(self, which: str, across: str, up: str, holds: str, least: float | None) -> str:
        """The points as they are chosen."""
        try:
            found = points(self.reader, which, across, up, self.scale, holds=holds, least=least or 0.0)
            return chart.chart(found, across, up)
        except EmbedshiftError as error:
            return html.note(str(error), "error")

    def clicked(self, which: str, event: gr.EventData) -> str:
        """The image of a point."""
        try:
            found = detail(self.reader, str(event._data["name"]), which, self.scale)
        except EmbedshiftError as error:
            return html.note(str(error), "error")
        return chart.of_detail(found, self.reader.metrics, which)


def _head(bench: Bench | str, reader: Reader | None) -> str:
    """What stands above the tabs: the encoder, and where the scale comes from."""
    title = Markup("<h1>{}</h1>")
    if reader is None:
        assert isinstance(bench, Bench)
        lines, scale = f"Encoder: {bench.title}. No study.", bench.scale
    else:
        info, scale = reader.info, scale_of(reader)
        name = info.encoder.title or info.encoder.name
        lines = f"Encoder: {name}. Study: {reader.folder.name}, {count(info.counts.measured, 'image')}."
    words = Markup("<p class='quiet'>{} {}</p>").format(lines, scale_in_words(scale))
    return title.format("How far does the embedding move?") + words


def _of_slider(change: Change) -> dict[str, Any]:
    """A slider over the parameter of a change; hidden for one without strength."""
    low, high, step = change.range
    return {"minimum": low, "maximum": high, "step": step, "info": change.hint, "visible": change.family is not None}


def _html(text: str, name: str = "", more: str = "", width: int | None = None, js: str | None = None) -> gr.HTML:
    """Our own HTML, which Gradio leaves as it is."""
    classes = ["es", *([more] if more else [])]
    return gr.HTML(
        str(text), elem_id=name or None, elem_classes=classes, min_width=width, js_on_load=js, apply_default_css=False
    )


def _read_once(path: Path) -> bytes:
    """The bytes of an uploaded file, which is deleted."""
    try:
        return read_file(str(path), IMAGE_BYTES)
    finally:
        path.unlink(missing_ok=True)
