"""What the optional metrics of attention cost: CPU milliseconds per image, beside drawing its views and encoding them.

usage: OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/attention_metrics.py [--size 224] [--repeats 20]

The picture is one of scikit-image's, the maps are random numbers; the encoder is a full-size DINOv2-small with random
weights, since speed does not depend on them. Each number is the least of the repeats, summed over threads: what else
runs on the machine counts little.
"""

import argparse
import functools
import time
from collections.abc import Callable

import numpy as np
import skimage.data
from transformers import Dinov2Config, Dinov2Model

from embedshift.arrays import Pixels
from embedshift.augmentations import load_suite
from embedshift.augmentations.views import draw_views
from embedshift.config import StudyConfig
from embedshift.encoders.base import EncoderOutput
from embedshift.encoders.module import wrap
from embedshift.encoders.spec import EncoderSpec
from embedshift.pipeline.drawn import DrawnImage
from embedshift.pipeline.plan import Plan, make_measures
from embedshift.registry import METRICS
from embedshift.sources import ImageRef, Source, images
from machine import describe_machine

NAMES = tuple(name for name in METRICS if METRICS[name].question == "attention")


def main() -> None:
    """Prints one line per metric, and the time of a forward pass with and without rollout."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("--size", 224), ("--repeats", 20)):
        parser.add_argument(name, type=int, default=value)
    given = parser.parse_args()
    print(describe_machine())
    picture: Pixels = skimage.data.astronaut()  # type: ignore[no-untyped-call]
    suite, original = load_suite("paper"), images.ToInput(given.size, "squash")(picture)
    views, seeds = draw_views(original, "a.jpg", suite)
    maps = np.random.default_rng(0).random((len(views), given.size // 14, given.size // 14), np.float32)
    output = EncoderOutput(maps[:, 0], maps, "cls", {"rollout": maps})
    image = DrawnImage(ImageRef("a.jpg", ""), "", views, seeds, {}, {})
    draw = functools.partial(draw_views, original, "a.jpg", suite)
    print(f"drawing its {len(views) - 1} views: {cheapest(draw, given.repeats):.1f} ms per image")

    shape = Dinov2Config(hidden_size=384, num_hidden_layers=12, num_attention_heads=6, image_size=518, patch_size=14)
    encoder = wrap(
        Dinov2Model(shape), size=given.size, mean=(0.5,) * 3, std=(0.2,) * 3, device="cpu",
        embed=lambda module, pixels: module(pixels).pooler_output,
    )  # fmt: skip
    forward = cheapest(functools.partial(encoder, views), max(2, given.repeats // 5))
    with encoder.observing(["rollout"]):
        rolled = cheapest(functools.partial(encoder, views), max(2, given.repeats // 5))
    print(f"encoding them on the CPU: {forward:.0f} ms per image, {rolled:.0f} ms with rollout")
    config = StudyConfig(metrics=NAMES)
    (asked,) = (each for each in make_measures(config, suite, [image.sample]) if each.question == "attention")
    spec = EncoderSpec(config=config)
    plan = Plan(
        config=config, suite=suite, source=Source(), spec=spec, encoder=spec.record(encoder, encoder.preprocess),
        measures=(asked,), columns=(), batch_size=1, images=1,
    )  # fmt: skip
    for name in NAMES:
        asked.metrics = (name,)
        milliseconds = cheapest(functools.partial(asked.of_output, image, output, plan), given.repeats)
        print(f"{name}: {milliseconds:.1f} ms per image")


def cheapest(work: Callable[[], object], repeats: int) -> float:
    """CPU milliseconds of the cheapest of `repeats` calls, after one that does not count."""
    work()
    times = []
    for _ in range(repeats):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return 1e3 * min(times)


if __name__ == "__main__":
    main()
