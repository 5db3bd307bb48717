"""Speed of a study against the order of work of the paper's scripts, and against the encoder alone.

usage: python benchmarks/speed.py PHOTO_DIR [--photos 48] [--repeats 3]

Full-size CLIP ViT-B/32 with random weights: speed does not depend on them. Everything runs in one process, one after
the other, again and again (A-B-A-B), since a shared machine's speed was seen to change by a factor of two; ratios are
taken within each round, and their median and range are printed.
"""

import argparse
import copy
import logging
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from transformers import CLIPConfig, CLIPModel

from authors_order import AuthorsOrder
from embedshift.encoders.base import Preprocess
from embedshift.encoders.embeddings import READERS
from embedshift.encoders.families import CLIP_MEAN, CLIP_STD
from embedshift.encoders.module import ModuleEncoder
from embedshift.sources import FolderSource
from embedshift.study import make_config, run_study
from machine import describe_machine

PRECISIONS = ("float32", "bfloat16")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", metavar="PHOTO_DIR", type=Path)
    parser.add_argument("--photos", type=int, default=48)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    photos = [Path(sample.location) for sample in FolderSource([str(options.folder)]).samples[: options.photos]]
    torch.manual_seed(0)
    model = CLIPModel._from_config(CLIPConfig()).eval()
    eager = CLIPModel._from_config(CLIPConfig(), attn_implementation="eager").eval()
    eager.load_state_dict(model.state_dict())
    encoders = {
        precision: ModuleEncoder(
            copy.deepcopy(model),
            READERS["image_features"],
            Preprocess(224, CLIP_MEAN, CLIP_STD),
            "clip",
            precision=precision,
        )
        for precision in PRECISIONS
    }
    authors = AuthorsOrder(eager)
    rounds: list[dict[str, float]] = []
    for number in range(options.repeats):
        seconds = {"authors": sum(authors.seconds_per_image(photos[: max(8, len(photos) // 4)]).values())}
        for precision, encoder in encoders.items():
            seconds[f"encoder {precision}"] = encoder_only(encoder, len(photos))
            seconds[f"study {precision}"] = study(encoder, photos)
        rounds.append(seconds)
        print(
            f"round {number + 1}: " + ", ".join(f"{name} {value:.3f} s/image" for name, value in seconds.items()),
            flush=True,
        )
    print(describe_machine())
    print(f"{len(photos)} photos, 10 views each, CLIP ViT-B/32 with random weights, {options.repeats} rounds")
    for precision in PRECISIONS:
        show(f"study {precision} against the authors' order (times as fast)", rounds, "authors", f"study {precision}")
        show(
            f"study {precision} against the encoder alone (share of its rate)",
            rounds,
            f"encoder {precision}",
            f"study {precision}",
        )


def encoder_only(encoder: ModuleEncoder, images: int, batch: int = 40) -> float:
    """Seconds per image of ten views that lie in memory."""
    views = np.random.default_rng(0).integers(0, 256, (batch, 224, 224, 3), dtype=np.uint8)
    return timed(lambda: [encoder(views) for _ in range(max(1, images * 10 // batch))]) / images


def study(encoder: ModuleEncoder, photos: list[Path]) -> float:
    """Seconds per image from the files to the tables, the encoder loaded."""
    with tempfile.TemporaryDirectory() as folder:
        config = make_config(
            {"images": [str(photo) for photo in photos], "batch_size": 40, "precision": encoder.precision}
        )
        return timed(lambda: run_study(config, Path(folder) / "study", encoder=encoder)) / len(photos)


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def show(title: str, rounds: list[dict[str, float]], above: str, below: str) -> None:
    ratios = [seconds[above] / seconds[below] for seconds in rounds]
    print(f"{title}: {statistics.median(ratios):.2f} (range {min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
