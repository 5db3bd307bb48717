"""What a study would cost, before it is run: images, bytes, and time from a probe."""

import time
from collections.abc import Iterator

from embedshift.encoders.base import Encoder
from embedshift.pipeline.draw import DrawnImage, draw_image
from embedshift.pipeline.plan import Plan
from embedshift.sources import passed_over
from embedshift.steps import Prepared

PROBE_IMAGES = 4


def estimate(study: Prepared) -> Iterator[str]:
    """Lines that tell the images found, the bytes to be written, and the time, from encoding a few of the images.

    Args:
        study: The study, its encoder ready.
    """
    samples, plan, encoder = study.samples, study.plan, study.ready.encoder
    images = len(samples)
    yield f"images: {images}{passed_over(study.source.skipped)}"
    views = 1 + plan.views
    yield f"views: {views} per image, {images * views} in all, in {len(study.shards)} shards"
    yield f"to be written: about {images * views * row_bytes(encoder, plan) / 1e6:,.1f} MB"
    step = max(1, images // PROBE_IMAGES)
    started = time.perf_counter()
    drawn = [draw_image(sample, study.source, plan) for sample in samples[::step][:PROBE_IMAGES]]
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
    """Bytes of one row on disk, as measured: vectors, metrics, names and distances, compressed; a shard's sums."""
    cells = encoder.grid[0] * encoder.grid[1] if encoder.grid else 0
    vectors = encoder.dim + cells if plan.config.store == "all" else 0
    vectors += sum(column.length for column in plan.columns if column.of == "views")
    # A vector of float32 per augmentation and one of float64, as text.
    sums = 4 / 3 * (4 * len(plan.suite.names) + 8) * encoder.dim
    return 0.92 * 4 * vectors + 7.5 * len(plan.metrics) + 26 + sums / plan.config.shard_size / (1 + plan.views)


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
