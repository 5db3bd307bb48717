"""The page: one image of the user, and the images of a study. This file alone imports Gradio."""

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

# Before Gradio is imported, which reads them then: nothing is sent anywhere.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

import gradio as gr
import polars as pl
from markupsafe import Markup
from PIL import Image
from starlette.middleware import Middleware

from embedshift.app import words
from embedshift.app.changes import Change, all_changes, chosen
from embedshift.app.events import read_and_delete, uploaded
from embedshift.app.measured import MeasuredView, Original, PageEncoder, measure_view, open_original
from embedshift.app.points import SHIFT, ImageViews, PointChoice, axes, axis_label, image_views, points
from embedshift.app.start import scale_in_words, scale_of
from embedshift.arrays import Floats, Pixels
from embedshift.augmentations import ORIGINAL, rebuild_suite
from embedshift.errors import EmbedshiftError, cause
from embedshift.figures.images import overlay
from embedshift.report.numbers import count, fixed, metric_decimals, shorten, with_interval
from embedshift.sources.base import IMAGE_BYTES
from embedshift.statistics.summary import COSINE
from embedshift.store.reader import Reader

FIRST_CHANGE = "strength: jpeg"
# Seconds between two looks for old files of the page's own images, and their age.
CACHE = (600, 3_600)
# Steps that come while one is under way: the last of them is answered. Each tab of the page has one event for all its
# fields, so that no answer overtakes a later one.
EVENT: dict[str, Any] = {"trigger_mode": "always_last", "show_progress": "hidden", "api_visibility": "private"}
MARK = "Drag across points to mark a range: its first image is shown, and the list has its images alone."
# Gradio cuts captions to one line, and galleries to a part of their rows.
CSS = """
.gallery-container .caption-label, .grid-container .caption-label { white-space: normal; max-width: 100%; }
.grid-wrap { max-height: none !important; }
.error { font-weight: 600; }
"""
# Gradio sends two steps that follow closely side by side, and answers them as they arrive: one after the other.
IN_ORDER = """<script>
const send = window.fetch;
let before = Promise.resolve();
window.fetch = (url, options) => {
  if (!String(url).includes("/queue/join")) return send(url, options);
  const answer = before.then(() => send(url, options));
  before = answer.catch(() => null);
  return answer;
};
</script>"""
Pictures = list[tuple[str, str]]


@dataclass(frozen=True)
class TabState:
    """What one browser tab has: its image, and the change that its slider is for."""

    original: Original | None = None
    label: str = FIRST_CHANGE


def make_page(page_encoder: PageEncoder | str, reader: Reader | None) -> gr.Blocks:
    page: gr.Blocks
    with gr.Blocks(title="embedshift", analytics_enabled=False, delete_cache=CACHE) as page:
        gr.HTML(_heading(page_encoder, reader))
        with gr.Tabs():
            with gr.Tab("One image"):
                if isinstance(page_encoder, str):
                    gr.HTML(words.message(f"No image of your own can be measured: {page_encoder}", is_error=True))
                else:
                    suite = None if reader is None else rebuild_suite(reader.info.identity["augmentations"])
                    _ImageTab(page_encoder, all_changes(suite)).build()
            if reader is not None:
                with gr.Tab("Study"):
                    _StudyTab(reader).build(page)
    return page


def launch(page: gr.Blocks, host: str, port: int | None, guard: Callable[..., Any]) -> None:
    """Serves the page with local fonts in a thread of its own.

    `guard` makes an ASGI middleware of an application and of the kinds of the fields of each event.
    """
    fields = {number: [field.get_block_name() for field in event.inputs] for number, event in page.fns.items()}
    fonts = ["system-ui", "-apple-system", "Segoe UI", "Liberation Sans", "DejaVu Sans", "sans-serif"]
    page.launch(
        server_name=host, server_port=port, prevent_thread_lock=True, quiet=True, share=False, inbrowser=False,
        footer_links=[], run_history=False, ssr_mode=False, pwa=False, mcp_server=False, enable_monitoring=False,
        num_workers=0, max_file_size=IMAGE_BYTES, app_kwargs={"middleware": [Middleware(guard, fields)]},
        css=CSS, head=IN_ORDER,
        theme=gr.themes.Base(font=fonts, font_mono=["ui-monospace", "DejaVu Sans Mono", "monospace"]),
    )  # fmt: skip


class _ImageTab:
    def __init__(self, page_encoder: PageEncoder, changes: dict[str, Change]) -> None:
        self.page_encoder, self.changes = page_encoder, changes

    def build(self) -> None:
        first = self.changes[FIRST_CHANGE]
        tab = gr.State(TabState())
        with gr.Row():
            with gr.Column(scale=1, min_width=260):
                upload = gr.File(label="Your image", height=130, elem_id="upload")
                change = gr.Dropdown(list(self.changes), value=FIRST_CHANGE, label="Change", elem_id="change")
                strength = gr.Slider(label="Strength", value=first.initial, elem_id="strength", **_slider(first))
                draw = gr.Number(
                    label="Draw", value=0, precision=0, elem_id="draw",
                    info="Another number makes another random draw of the change.",
                )  # fmt: skip
                answer = gr.HTML(elem_id="answer")
                scale = gr.Label(label="How far the embedding moved", show_heading=False, elem_id="scale")
            with gr.Column(scale=2, min_width=260):
                message = gr.HTML(
                    words.message("Choose an image of your own. It stays on this machine."), elem_id="message"
                )
                pictures = gr.Gallery(label="Original and view", columns=2, height="auto", elem_id="pictures")
        fields = [upload, tab, change, strength, draw]
        shown = [upload, tab, strength, message, pictures, answer, scale]
        steps = [upload.upload, change.input, strength.input, draw.input]
        # Gradio's preprocessing would drop the name of a file, whose seeds the views have, and fail where a field is
        # empty; `uploaded` checks the file.
        gr.on(steps, self.answer, fields, shown, preprocess=False, **EVENT)

    def answer(self, file: Any, tab: TabState, label: Any, strength: Any, draw: Any) -> list[Any]:
        """What the fields ask for, as the page shows it. An uploaded file is read and deleted."""
        slider, subject = gr.skip(), ""
        try:
            if file is not None:
                if (upload := uploaded(file)) is None:
                    raise EmbedshiftError("choose a file on this page; no other file is opened")
                subject = f"{upload[0]}: "
                tab = replace(tab, original=open_original(read_and_delete(upload[1]), upload[0], self.page_encoder))
                subject = ""
            change = chosen(self.changes, label)
            if label != tab.label:
                tab, strength = replace(tab, label=label), change.initial
                slider = gr.Slider(value=strength, **_slider(change))
            if tab.original is None:
                return [None, tab, slider, *[gr.skip()] * 4]
            if strength is None or draw is None:
                raise EmbedshiftError(f"give the {'draw' if draw is None else 'strength'} as a number")
            view = measure_view(tab.original, change, float(strength), self.page_encoder, draw=max(int(draw), 0))
        except Exception as error:  # of whatever the file holds, and whatever draws or encodes
            return [None, tab, slider, words.message(subject + cause(error), is_error=True), *[gr.skip()] * 3]
        answer = words.answer(view, change.what, self.page_encoder.not_searched, tab.original.attention is not None)
        bars = words.scale_bars(view.relative_shift, self.page_encoder.scale)
        return [None, tab, slider, "", _comparison_pictures(tab.original, view), answer, bars]


class _StudyTab:
    def __init__(self, reader: Reader) -> None:
        self.reader, self.scale = reader, scale_of(reader)

    def build(self, page: gr.Blocks) -> None:
        names, axis_names = self.reader.augmentations, axes(self.reader)
        x = next((name for name in axis_names if name not in (SHIFT, COSINE)), axis_names[-1])
        with gr.Row():
            augmentation = gr.Dropdown(names, value=names[0], label="Augmentation", elem_id="augmentation")
            across = gr.Dropdown(axis_names, value=x, label="Horizontal axis", elem_id="across")
            up = gr.Dropdown(axis_names, value=SHIFT, label="Vertical axis", elem_id="up")
            name_part = gr.Textbox(label="Name contains", max_length=300, elem_id="name-part")
            least = gr.Number(label="Relative shift at least", value=0, elem_id="least")
        plot = gr.ScatterPlot(x="x", y="y", tooltip="all", height=380, elem_id="points")
        counted = gr.HTML(elem_id="counted")
        image = gr.Dropdown(label="Image", info=MARK, elem_id="image")
        message = gr.HTML(elem_id="detail-message")
        pictures = gr.Gallery(label="Views", columns=4, height="auto", visible=False, elem_id="views")
        metrics = gr.Dataframe(label="All metrics", interactive=False, type="polars", visible=False, elem_id="metrics")
        failures = self.reader.failures()
        if len(failures):
            with gr.Accordion(f"{count(len(failures), 'image')} could not be measured", open=False):
                gr.Dataframe(failures, interactive=False, type="polars", max_height=300, elem_id="failures")
        fields = [augmentation, across, up, name_part, least]
        # A dropdown's or a number's `input`, but a text's `change`: its `input` is typing alone, without pasting.
        steps = [augmentation.input, across.input, up.input, name_part.change, least.input]
        steps += [page.load, plot.select, plot.double_click]
        # Gradio's preprocessing would print a traceback for a name that the lists do not have.
        gr.on(steps, self.show_points, fields, [plot, counted, image], preprocess=False, **EVENT)
        shown = [message, pictures, metrics]
        image.change(self.show_image, [augmentation, image], shown, preprocess=False, **EVENT)

    def show_points(
        self, augmentation: str, across: str, up: str, name_part: str | None, least: float | None, event: gr.EventData
    ) -> tuple[Any, Any, Any]:
        """The points, and the list of their images; of a range that was marked in the plot, the list alone."""
        choice = PointChoice(augmentation, across, up, name_part or "", least or 0.0)
        try:
            shown, how_many = points(self.reader, choice, self.scale)
        except EmbedshiftError as error:
            return gr.skip(), words.message(str(error), is_error=True), gr.skip()
        marked = event._data.get("index") if isinstance(event._data, dict) else None  # of the plot's `select` alone
        if isinstance(marked, list) and [type(end) in (int, float) for end in marked] == [True, True]:
            ids = shown.filter(pl.col("x").is_between(*marked))["name"].to_list()
            how_many = f"{how_many}; {count(len(ids), 'image')} marked"
            return gr.skip(), words.message(how_many), gr.Dropdown(ids, value=next(iter(ids), None))
        how_many = how_many if len(shown) else "No image is left: change the filter."
        table = shown.with_columns(pl.col("x", "y").round_sig_figs(4)).to_pandas()
        plot = gr.ScatterPlot(table, x_title=axis_label(across), y_title=axis_label(up))
        return plot, words.message(how_many), gr.Dropdown(shown["name"].to_list(), value=None)

    def show_image(self, augmentation: str, image_id: str | None) -> tuple[Any, Any, Any]:
        """One image: messages, its views, and its metrics; nothing where none is chosen."""
        hidden = gr.Gallery(visible=False), gr.Dataframe(visible=False)
        if image_id is None:
            return "", *hidden
        try:
            shown = image_views(self.reader, image_id, augmentation, self.scale)
        except EmbedshiftError as error:
            return words.message(str(error), is_error=True), *hidden
        lines = [Markup("<h3>{}</h3>").format(shorten(image_id, 200))]
        if description := self.reader.info.descriptions.get(augmentation):
            lines.append(words.message(f"{augmentation}: {description}"))
        for name, reason in shown.missing.items():
            subject = "The image" if name == ORIGINAL else name
            lines.append(words.message(f"{subject} cannot be shown: {reason}", is_error=True))
        if shown.image is None:
            return Markup("").join(lines), *hidden
        values = shown.image.metrics.get(augmentation, {})
        rows = [(axis_label(metric), fixed(value, metric_decimals(metric, value))) for metric, value in values.items()]
        table = pl.DataFrame(rows, schema={"metric": pl.String, augmentation: pl.String}, orient="row")
        return (
            Markup("").join(lines),
            gr.Gallery(_view_pictures(shown), visible=True),
            gr.Dataframe(table, visible=True),
        )


def _heading(page_encoder: PageEncoder | str, reader: Reader | None) -> str:
    """What stands above the tabs: the encoder, and where the scale comes from."""
    if reader is None:
        assert isinstance(page_encoder, PageEncoder)
        subject, scale = f"Encoder: {page_encoder.title}. No study.", page_encoder.scale
    else:
        info, scale = reader.info, scale_of(reader)
        title = info.encoder.title or info.encoder.name
        subject = f"Encoder: {title}. Study: {reader.folder.name}, {count(info.counts.measured, 'image')}."
    heading = Markup("<h1>How far does the embedding move?</h1><p>{} {}</p>")
    return heading.format(subject, scale_in_words(scale))


def _slider(change: Change) -> dict[str, Any]:
    """A slider over the parameter of a change; hidden for one without strength."""
    low, high, step = change.range
    return {"minimum": low, "maximum": high, "step": step, "info": change.hint, "visible": change.family is not None}


def _comparison_pictures(original: Original, view: MeasuredView) -> Pictures:
    """Original and view beside each other, and their attention maps below."""
    width, height = original.size
    first = [(_file(original.view), f"original: {original.name}, {width} x {height}")]
    first.append((_file(view.view), f"view: {view.change}"))
    maps = [(original.view, original.attention, "original"), (view.view, view.attention, "view")]
    return first + [_attention(image, values, name) for image, values, name in maps if values is not None]


def _view_pictures(shown: ImageViews) -> Pictures:
    """The original and the views of a study's image with their numbers, each before its attention map."""
    assert shown.image is not None
    pictures: Pictures = []
    for name, view in shown.image.views.items():
        numbers = [name]
        if name in shown.shifts:
            numbers.append(f"relative shift {with_interval(shown.shifts[name], None, None)[0]}")
        if name != ORIGINAL:
            numbers.append(f"cosine {fixed(shown.image.metrics.get(name, {}).get(COSINE), 3)}")
        pictures.append((_file(view), ", ".join(numbers)))
        if name in shown.image.attention:
            pictures.append(_attention(view, shown.image.attention[name], name))
    return pictures


def _attention(view: Pixels, values: Floats, name: str) -> tuple[str, str]:
    return _file(overlay(view, values)), f"attention, {name}"


def _file(pixels: Pixels) -> str:
    """A new PNG: Gradio itself writes equal images to the same file, which a browser may be reading."""
    handle, path = tempfile.mkstemp(suffix=".png", dir=os.environ["GRADIO_TEMP_DIR"])
    with open(handle, "wb") as file:
        Image.fromarray(pixels).save(file, "png")
    return path
