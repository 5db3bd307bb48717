"""Ray on this machine against the local engine: images per second, start-up apart, and whether the tables are equal.

usage: python benchmarks/ray_rate.py PHOTO_DIR [--photos 400] [--repeats 2] [--precision float32] [--shard-size 64]

Full-size CLIP ViT-B/32 with random weights on the photos of a folder, again and again under other names. The engines
take turns (A-B-A-B); ratios are taken within a round. The clock runs from the first finished shard to the last, by the
times at which the shards were written: the start of Ray, the loading of the encoder and the first shard, with which
both fill their pipelines, are left out, and so are the tables.
"""

import argparse
import itertools
import logging
import tempfile
from pathlib import Path

import embedshift
from embedshift.store import shards
from embedshift.study import Study
from fullsize import repeat_photos, save_clip
from machine import describe_machine
from speed import show

ENGINES = ("local", "ray")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", metavar="PHOTO_DIR", type=Path)
    parser.add_argument("--photos", type=int, default=400)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--shard-size", type=int, default=64)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    rounds: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as scratch:
        model = str(save_clip(Path(scratch) / "clip"))
        repeat_photos(options.folder, options.photos, Path(scratch) / "photos")
        settings = {"model": model, "precision": options.precision, "shard_size": options.shard_size}
        studies = []
        for number in range(options.repeats):
            for engine in ENGINES:
                out = Path(scratch) / f"{engine}-{number}"
                studies.append(embedshift.run(Path(scratch) / "photos", out=out, engine=engine, **settings))
            rounds.append({engine: rate(study) for engine, study in zip(ENGINES, studies[-2:], strict=True)})
            told = ", ".join(f"{engine} {value:.2f} images/s" for engine, value in rounds[-1].items())
            print(f"round {number + 1}: {told}", flush=True)
        equal = all(same(one, other) for one, other in itertools.pairwise(studies))
    print(describe_machine())
    print(
        f"{options.photos} photos in shards of {options.shard_size}, 10 views each, CLIP ViT-B/32 with random weights, "
        f"{options.precision}"
    )
    show("Ray against the local engine (fraction of its rate, target 0.90)", rounds, "ray", "local")
    print(f"tables: {'equal' if equal else 'DIFFERENT'}")


def rate(study: Study) -> float:
    """Images per second, from the first finished shard to the last."""
    images = {record.index: record.images for record in study.reader().records}
    done = sorted((shards.shard_path(study.folder, index).stat().st_mtime, index) for index in images)
    if len(done) < 2:
        raise SystemExit("one shard alone has no rate: give more --photos, or a smaller --shard-size")
    return sum(images[index] for _, index in done[1:]) / (done[-1][0] - done[0][0])


def same(one: Study, other: Study) -> bool:
    return all(one.table(name).equals(other.table(name)) for name in one.table_names)


if __name__ == "__main__":
    main()
