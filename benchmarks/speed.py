"""Speed of a study against the order of work of the paper's scripts, and against the encoder alone.

usage: python benchmarks/speed.py FOLDER [--photos 64] [--repeats 3] [--kinds float32 bfloat16 "bfloat16 compiled"]
       python benchmarks/speed.py FOLDER --short [--repeats 3]     short runs alone, in float32

Full-size CLIP ViT-B/32 with random weights: speed does not depend on them. Photos are repeated under other names if
there are too few. Everything runs one after the other, again and again (A-B-A-B), since the speed of a shared machine
changes, by a factor of two; ratios are taken within each round, and their median and range are printed.

A short run: (seconds of 48 photos - seconds of 8) / 40 against the authors' seconds an image, so that the start and
the end of a run do not count; and the largest relative difference of its embeddings from those by torch's own kernels.
"""

import contextlib
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import authors_order
from bench import arguments, in_a_process, print_machine, random_views, ratios, repeated, save_clip, timed
from embedshift.config import Precision, make_config
from embedshift.encoders import Encoder, load_encoder
from embedshift.encoders.base import Compilable, HasKernels
from embedshift.encoders.device import keep_memory
from embedshift.runner import run_study

BATCH = 40
# Name → precision, and whether the encoder is compiled.
KINDS: dict[str, tuple[Precision, bool]] = {
    "float32": ("float32", False),
    "bfloat16": ("bfloat16", False),
    "bfloat16 compiled": ("bfloat16", True),
}
Rounds = list[dict[str, float]]


def main() -> None:
    options = arguments(__doc__, "folder", photos=64, repeats=3, kinds=tuple(KINDS), short=False)
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as scratch:
        count = 48 if options.short else options.photos
        photos = repeated(options.folder, count, Path(scratch) / "photos")
        if options.short:
            compare_short(photos, options.repeats)
        else:
            compare(photos, options.kinds, options.repeats)


def compare_short(photos: list[Path], repeats: int) -> None:
    """Measures short runs in turns with the authors' order, and prints."""
    encoder = load_encoders(["float32"])["float32"]
    assert isinstance(encoder, HasKernels)
    print_machine()
    views, chosen = random_views(BATCH), encoder.kernels
    found = encoder(views).embedding
    encoder.use_kernels([])  # a run chooses them again
    own = encoder(views).embedding
    off = np.linalg.norm(found - own, axis=1) / np.linalg.norm(own, axis=1)
    kernels = ", ".join(chosen) or "torch only"
    print(f"kernels: {kernels}; embeddings differ from torch's own by {off.max():.1e} at most, as a relative distance")
    rounds: Rounds = []
    for _ in range(repeats):
        before, few = authors(photos[:8]), 8 * study(encoder, photos[:8])
        seconds = {"study": (len(photos) * study(encoder, photos) - few) / (len(photos) - 8)}
        tell(rounds, seconds | {"authors": (before + authors(photos[:8])) / 2})
    print(f"a short run against the authors' order (times as fast): {ratios(rounds, 'authors', 'study')}")


def compare(photos: list[Path], kinds: Sequence[str], repeats: int) -> None:
    keep_memory()
    encoders, rounds = load_encoders(kinds), Rounds()
    for _ in range(repeats):
        seconds = {"authors": authors(photos[: min(20, max(8, len(photos) // 4))])}
        for kind, encoder in encoders.items():
            before = half_alone(encoder, kind, len(photos))
            seconds[f"study {kind}"] = study(encoder, photos, compiled=KINDS[kind][1])
            seconds[f"encoder {kind}"] = (before + half_alone(encoder, kind, len(photos))) / 2
        tell(rounds, seconds)
    print_machine()
    print(f"{len(photos)} photos, 10 views each, CLIP ViT-B/32 with random weights, {repeats} rounds")
    for kind in encoders:
        found = ratios(rounds, "authors", f"study {kind}")
        print(f"study {kind} against the authors' order (times as fast): {found}")
        found = ratios(rounds, f"encoder {kind}", f"study {kind}")
        print(f"    against the encoder alone (fraction of its rate): {found}")


def tell(rounds: Rounds, seconds: dict[str, float]) -> None:
    rounds.append(seconds)
    print(f"round {len(rounds)}, s/image: " + ", ".join(f"{k} {v:.3f}" for k, v in seconds.items()), flush=True)


def authors(photos: Sequence[Path]) -> float:
    """Seconds an image in a process of its own, which has none of what a study tells the libraries of this one."""
    steps: dict[str, float] = in_a_process(authors_order.__file__, *photos)
    return sum(steps.values())


def load_encoders(kinds: Sequence[str]) -> dict[str, Encoder]:
    """The encoder in each kind."""
    with tempfile.TemporaryDirectory() as folder:
        path = save_clip(Path(folder) / "clip")
        encoders = {kind: load_encoder(path, device="cpu", precision=KINDS[kind][0]) for kind in kinds}
    for encoder in encoders.values():
        assert encoder.grid == (7, 7), "the attention hook must be at work"
        assert isinstance(encoder, HasKernels)
        encoder.choose_kernels()  # as a study does
    return encoders


def half_alone(encoder: Encoder, kind: str, images: int) -> float:
    """Seconds per image of the encoder alone on half of the images: the other half comes after the study."""
    half, views = max(8, images // 2), random_views(BATCH)
    compiled: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
    if KINDS[kind][1]:  # torch keeps the code for the next time
        assert isinstance(encoder, Compilable)
        compiled = encoder.compiling(BATCH)
    with compiled:
        return timed(lambda: [encoder(views) for _ in range(half * 10 // BATCH)]) / (half * 10 // BATCH * BATCH / 10)


def study(encoder: Encoder, photos: list[Path], *, compiled: bool = False) -> float:
    """Seconds per image from the files to the tables, the encoder loaded."""
    with tempfile.TemporaryDirectory() as folder:
        config = make_config({"images": [str(photo) for photo in photos], "batch_size": BATCH, "compile": compiled})
        return timed(lambda: run_study(config, Path(folder) / "study", encoder=encoder)) / len(photos)


if __name__ == "__main__":
    main()
