"""What a study would cost, before it is run: images, bytes, and time from a probe."""

import time
from collections.abc import Iterator

from embedshift.draw import DrawnImage, draw_image
from embedshift.encoders.base import Encoder
from embedshift.plan import Plan
from embedshift.records import list_columns
from embedshift.sources import passed_over
from embedshift.study import Prepared

PROBE_IMAGES = 4


def estimate(prepared: Prepared) -> Iterator[str]:
    """Lines that tell the images found, the bytes to be written, and the time, from encoding a few of the images.

    Args:
        prepared: The study, its encoder loaded.
    """
    images, plan, encoder = len(prepared.samples), prepared.plan(), prepared.encoder
    yield f"images: {images}{passed_over(prepared.source.skipped)}"
    views = 1 + len(plan.suite.names) * plan.draws
    yield f"views: {views} per image, {images * views} in all, in {len(prepared.shards)} shards"
    yield f"to be written: about {images * views * row_bytes(encoder, plan) / 1e6:,.1f} MB"
    step = max(1, images // PROBE_IMAGES)
    started = time.perf_counter()
    drawn = [draw_image(sample, prepared.source, plan) for sample in prepared.samples[::step][:PROBE_IMAGES]]
    drawing = (time.perf_counter() - started) / len(drawn)
    good = [image for image in drawn if isinstance(image, DrawnImage)]
    if not good:
        yield "time: unknown, none of the images that were tried can be read"
        return
    batch = good[0].views[: plan.batch_size]
    encoder(batch)
    started = time.perf_counter()
    encoder(batch)
    encoding = (time.perf_counter() - started) / len(batch) * views
    # Drawing runs beside encoding; the slower of the two sets the pace.
    seconds = images * max(drawing, encoding)
    yield f"time: about {_duration(seconds)} ({encoding:.2f} s to encode an image, {drawing:.2f} s to draw one)"


def row_bytes(encoder: Encoder, plan: Plan) -> float:
    """Bytes of one row on disk, as measured: vectors and metrics compressed, and the names, seeds and distances."""
    cells = encoder.grid[0] * encoder.grid[1] if encoder.grid else 0
    vectors = encoder.dim + cells if plan.store == "all" else 0
    vectors += sum(list_columns(encoder, plan).values())
    return 0.92 * 4 * vectors + 7.5 * len(plan.metrics) + 26


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
