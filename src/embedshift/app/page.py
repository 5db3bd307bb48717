"""The page: one image of the user, and the images of a study. Only this file imports Gradio."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# Gradio reads these on import: nothing is sent anywhere.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

import gradio as gr
import pandas as pd
import polars as pl
from gradio_client.utils import is_file_obj_with_meta, is_http_url_like, traverse
from markupsafe import Markup
from PIL import Image

from embedshift.app.measured import (
    LEVELS,
    NO_SCALE,
    MeasuredView,
    Original,
    PageEncoder,
    all_changes,
    measure_view,
    open_original,
)
from embedshift.arrays import Floats, Pixels
from embedshift.augmentations import rebuild_suite
from embedshift.errors import EmbedshiftError, cause
from embedshift.figures.shared import overlay
from embedshift.registry import METRICS
from embedshift.report.numbers import fixed, shorten
from embedshift.statistics.baselines import relative_shift
from embedshift.statistics.summary import COSINE
from embedshift.store.baselines import baselines
from embedshift.store.reader import Reader
from embedshift.store.redraw import iter_redrawn

FIRST_CHANGE, SHIFT = "strength: jpeg", "relative shift"
INFO = f"0: unchanged, {LEVELS}: the strongest level of the suite"
TARGETS = [("the file, at its own size", "file"), ("the encoder's square", "input")]
HELP = (
    "Relative shift: 0 is unchanged, 1 as far as another image. Whitened embeddings have a scale of their own: compare "
    "what a search finds. Other images: their mean cosine, over all pairs of"
)
# Maximum images of a study on the page, drawn by the seed; maximum views of one image, including the chosen one.
MOST_IMAGES, MOST_VIEWS = 4_000, 20
# Of steps that arrive while one is running, only the last is answered. Each tab has one event for all its fields, so
# that no answer overtakes a later one. Gradio's preprocessing, which is skipped, would drop a file's name and fail on
# an empty field; the check that a file was uploaded here comes before it.
EVENT: dict[str, Any] = {"trigger_mode": "always_last", "show_progress": "hidden", "preprocess": False}


def make_page(encoders: Sequence[PageEncoder | str], reader: Reader | None = None) -> gr.Blocks:
    page: gr.Blocks
    # Files of the page's own images are deleted after an hour.
    with gr.Blocks(title="embedshift", analytics_enabled=False, delete_cache=(600, 3_600)) as page:
        gr.HTML("<h1>How far does the embedding move?</h1>")
        with gr.Tabs():
            with gr.Tab("One image"):
                for problem in encoders:
                    if isinstance(problem, str):
                        gr.HTML(_message(f"No image of your own can be measured: {problem}", is_error=True))
                if loaded := [encoder for encoder in encoders if isinstance(encoder, PageEncoder)]:
                    suite = None if reader is None else rebuild_suite(reader.info.identity["augmentations"])
                    _ImageTab(loaded, all_changes(suite)).build()
            if reader is not None:
                with gr.Tab("Study"):
                    _StudyTab(reader).build(page)
    _refuse_in_one_line(page)
    return page


def _refuse_in_one_line(page: gr.Blocks) -> None:
    """Gradio refuses a file that was not uploaded here, but fetches URLs and prints tracebacks."""
    preprocess = page.preprocess_data

    async def checked(function: Any, inputs: list[Any], *rest: Any, **named: Any) -> Any:
        try:
            paths = list[str]()
            traverse(inputs, lambda file: paths.append(file["path"]), is_file_obj_with_meta)
            if any(map(is_http_url_like, paths)):
                raise EmbedshiftError("a URL")
            return await preprocess(function, inputs, *rest, **named)
        except Exception as error:
            raise gr.Error("the page has no such event", print_exception=False) from error

    page.preprocess_data = checked  # type: ignore[assignment, method-assign]


class _ImageTab:
    def __init__(self, encoders: Sequence[PageEncoder], changes: dict[str, MeasuredView]) -> None:
        self.encoders, self.changes = encoders, changes

    def build(self) -> None:
        originals = gr.State(())  # the image of one browser tab, as each encoder takes it
        with gr.Row():
            with gr.Column(scale=1, min_width=260):
                upload = gr.File(label="Your image", height=130, elem_id="upload")
                change = gr.Dropdown(list(self.changes), value=FIRST_CHANGE, label="Change", elem_id="change")
                strength = gr.Slider(0, LEVELS, 3, step=0.05, label="Strength", info=INFO, elem_id="strength")
                apply_to = self.encoders[0].config.apply_to
                target = gr.Radio(TARGETS, value=apply_to, label="What changes", elem_id="target")
                draw = gr.Number(0, label="Draw", info="Another one draws anew.", precision=0, elem_id="draw")
                bars = gr.Label(label="Relative shift", show_heading=False, elem_id="bars")
            with gr.Column(scale=2, min_width=260):
                message = gr.HTML(_message("Choose an image of your own. It stays on this machine."), elem_id="message")
                answer = gr.HTML(elem_id="answer")
                pictures = gr.Gallery(label="Original and view", columns=2, height="auto", elem_id="pictures")
        sources = ", or of ".join(dict.fromkeys(encoder.source for encoder in self.encoders))
        gr.HTML(Markup("<p>{} {}.</p>").format(HELP, sources))
        fields = [upload, originals, change, strength, target, draw]
        steps = [upload.upload, change.input, strength.input, target.input, draw.input]
        gr.on(steps, self.answer, fields, [upload, originals, strength, message, answer, bars, pictures], **EVENT)

    def answer(
        self, file: Any, originals: Sequence[Original], label: Any, strength: Any, target: Any, draw: Any
    ) -> list[Any]:
        slider, subject = gr.skip(), ""
        try:
            if file is not None:
                name = str(file["orig_name"] or Path(file["path"]).name).encode("utf-8", "replace").decode()
                subject = f"{name}: "
                data = Path(file["path"]).read_bytes()
                Path(file["path"]).unlink()
                originals = open_original(data, name, self.encoders)
                subject = ""
            if (change := self.changes.get(str(label))) is None:
                raise EmbedshiftError("choose a change from the list")
            slider = gr.Slider(visible=change.has_strength)
            if originals and (strength is None or draw is None):
                raise EmbedshiftError(f"give the {'draw' if draw is None else 'strength'} as a number")
            measured = [
                measure_view(original, change, float(strength), encoder, target, draw=max(int(draw), 0))
                for original, encoder in zip(originals, self.encoders, strict=False)  # no image yet
            ]
        except Exception as error:  # any file may be uploaded, and any encoder may fail
            return [None, originals, slider, _message(subject + cause(error), is_error=True), *[gr.skip()] * 3]
        if not measured:
            return [None, originals, slider, *[gr.skip()] * 4]
        pictures = [_picture(view, caption) for caption, view, _ in measured[0][0]]
        for encoder, (views, _) in zip(self.encoders, measured, strict=True):
            for _, view, attention in views:
                if attention is not None:
                    pictures.append(_picture(view, f"attention of {encoder.title}", attention[0]))
        rows = [row for _, several in measured for row in several]
        cells = pd.DataFrame(rows).map(lambda value: value if isinstance(value, str) else fixed(value, 4))
        table = Markup(cells.T.to_html(header=False, escape=True))
        bars = {"another image": 1.0} | {row["embeddings"]: row[SHIFT] for row in rows if row[SHIFT] == row[SHIFT]}
        return [None, originals, slider, "", table, bars, pictures]


class _StudyTab:
    def __init__(self, reader: Reader) -> None:
        self.reader = reader

    def build(self, page: gr.Blocks) -> None:
        names, metrics = self.reader.augmentations, list(self.reader.metrics)
        with gr.Row():
            augmentation = gr.Dropdown(names, value=names[0], label="Augmentation", elem_id="augmentation")
            across = gr.Dropdown(metrics, value=metrics[-1], label="Horizontal axis", elem_id="across")
        plot = gr.ScatterPlot(x=metrics[-1], y=SHIFT, tooltip="all", height=380, elem_id="points")
        table = gr.Dataframe(label="Images", interactive=False, show_search="filter", max_chars=80, elem_id="images")
        image = gr.Dropdown(label="Image", info="Choose one here, or click on its row.", elem_id="image")
        message = gr.HTML(elem_id="detail-message")
        pictures = gr.Gallery(label="Views", columns=4, height="auto", elem_id="views")
        steps = [augmentation.input, across.input, page.load]
        gr.on(steps, self.show_images, [augmentation, across], [plot, table, image], **EVENT)
        gr.on([image.input, table.select], self.show_views, [augmentation, image], [message, pictures], **EVENT)

    def show_images(self, augmentation: Any, across: Any) -> tuple[Any, Any, Any]:
        if augmentation not in self.reader.augmentations or across not in self.reader.metrics:
            return gr.skip(), gr.skip(), gr.skip()
        rows = self.reader.rows().filter((pl.col("view") == augmentation) & (pl.col("draw") == 0))
        if self.reader.info.counts.measured > MOST_IMAGES:
            rows = rows.filter(pl.col("image_id").is_in(self.reader.sample_ids(MOST_IMAGES)))
        table = rows.select("image_id", pl.col(*self.reader.metrics).cast(pl.Float64)).collect()
        shifts = relative_shift(table[COSINE], baselines(self.reader).get(COSINE, NO_SCALE), METRICS[COSINE].no_change)
        table = table.insert_column(1, pl.Series(SHIFT, shifts)).sort(SHIFT, COSINE, descending=[True, False])
        table = table.with_columns(pl.selectors.float().round_sig_figs(4))
        plot = gr.ScatterPlot(table.to_pandas(), x=across, x_title=METRICS[across].label)
        return plot, gr.Dataframe(table), gr.Dropdown(table["image_id"].to_list())

    def show_views(self, augmentation: Any, image_id: Any, event: gr.EventData) -> tuple[Any, Any]:
        try:
            if isinstance(event._data, dict) and "row_value" in event._data:
                image_id = event._data["row_value"][0]
            names = names if len(names := self.reader.augmentations) <= MOST_VIEWS else [augmentation]
            if not self.reader.shows_images:
                raise EmbedshiftError(self.reader.unseen)
            _, shown = next(iter_redrawn(self.reader, [image_id], {image_id: names}))
            if isinstance(shown, str):
                raise EmbedshiftError(f"the image cannot be shown: {shown}")
        except Exception as error:
            return _message(cause(error), is_error=True), None
        lines = [Markup("<h3>{}</h3>").format(shorten(image_id, 200))]
        missing = [f"{name} cannot be shown: {reason}" for name, reason in shown.missing.items()]
        lines += [_message(line, is_error=True) for line in missing]
        pictures = []
        for name, view in shown.views.items():
            cosine = shown.metrics.get(name, {}).get(COSINE)
            pictures.append(_picture(view, name if cosine is None else f"{name}, cosine {fixed(cosine, 3)}"))
            if name in shown.attention:
                pictures.append(_picture(view, f"attention, {name}", shown.attention[name]))
        return Markup("").join(lines), pictures


def _message(text: str, *, is_error: bool = False) -> Markup:
    """Returns one line; a screen reader reads errors at once."""
    kind, role = ("error", "alert") if is_error else ("note", "status")
    return Markup('<p class="{}" role="{}">{}</p>').format(kind, role, shorten(text, 600))


def _picture(pixels: Pixels, caption: str, attention: Floats | None = None) -> tuple[str, str]:
    """Returns an image or map as a new PNG; Gradio writes equal images to one file, which a browser may read."""
    handle, path = tempfile.mkstemp(suffix=".png", dir=os.environ["GRADIO_TEMP_DIR"])
    with open(handle, "wb") as file:
        Image.fromarray(pixels if attention is None else overlay(pixels, attention)).save(file, "png")
    return path, caption
