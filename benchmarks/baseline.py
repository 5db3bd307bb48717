"""What the baseline costs: the pairs of different images of one shard beside the shard's own time.

usage: python benchmarks/baseline.py PHOTOS [--images 64] [--study 200 1000000]

The pairs are measured by the process that encodes; the drawing of views, which loaders do beside it, is not counted.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

from embedshift.config import make_config
from embedshift.pipeline.draw import draw_image
from embedshift.pipeline.drawn import DrawnImage
from embedshift.pipeline.prepare import prepared
from embedshift.pipeline.records import SampledPairs
from embedshift.pipeline.shard import measure_shards
from machine import describe_machine


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("photos", metavar="PHOTOS", type=Path)
    parser.add_argument("--images", type=int, default=64, help="of the shard")
    parser.add_argument("--study", type=int, nargs="+", default=[200, 1_000_000], help="images of the study")
    options = parser.parse_args()
    settings = {"images": [str(options.photos)], "model": "dinov2-small-offline", "limit": options.images}
    metrics = {"metrics": ("attention", "aligned", "rollout"), "shard_size": options.images}
    with prepared(make_config(settings | metrics), None) as study:
        shard = study.shards[0]
        drawn = [draw_image(sample, study.plan.source, study.plan) for sample in shard.samples]
        good = [image for image in drawn if isinstance(image, DrawnImage)]
        started = time.perf_counter()
        [*measure_shards([shard], iter(good), study.ready, study.plan)]
        whole = time.perf_counter() - started
        outputs = [study.ready.encoder(image.views[:1]) for image in good]
        for images in options.study:
            plan = replace(study.plan, images=images)
            baseline = SampledPairs(plan.measures, plan, len(good))
            for image, output in zip(good, outputs, strict=True):
                baseline.add(image, output)
            started = time.perf_counter()
            baseline.close()
            seconds = time.perf_counter() - started
            print(
                f"a study of {images:,} images: {baseline.pairs} pairs a shard of {len(good)}, "
                f"{1000 * seconds:.0f} ms, {100 * seconds / whole:.2f} % of the shard's {whole:.1f} s"
            )
    print(describe_machine())


if __name__ == "__main__":
    main()
