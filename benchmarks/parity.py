"""Hidden stacks, named from their vectors alone: how many exactly, within a tie, wrongly; and what it costs.

usage: python benchmarks/parity.py PHOTOS [--recipes 40] [--seed 0] [--size 224]

Draws stacks with one to four alterations (--recipes), half as many with five or six, and thirty-six with a step that is
in no list, alone and with listed ones; their vectors come from code of the tests. One cache of encodings serves all.
Ends with exit code 1 where a stack is named wrongly.
"""

import argparse
import io
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageFilter, ImageOps

import embedshift
from embedshift.encoders.device import keep_memory
from embedshift.stacks.encodings import MOST, Encodings
from embedshift.stacks.search import DECISIVE, Search
from machine import describe_machine

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support import served


def webp(image: Image.Image) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "WEBP", quality=80)
    return Image.open(file).convert("RGB")


def noisy(image: Image.Image) -> Image.Image:
    noise = np.random.default_rng(0).normal(0, 4, (image.height, image.width, 3))
    return Image.fromarray((np.asarray(image) + noise).clip(0, 255).astype(np.uint8))


EXTRAS: dict[str, Callable[[Image.Image], Image.Image] | None] = {
    "gamma 1.1": lambda image: image.point([round(255 * (v / 255) ** 1.1) for v in range(256)] * 3),
    "blur": lambda image: image.filter(ImageFilter.BoxBlur(1)),
    "border": lambda image: ImageOps.expand(image, 3, "black"),
    "noise": noisy,
    "sharpening": lambda image: image.filter(ImageFilter.UnsharpMask(2, 60, 0)),
    "WebP": webp,
    "mirror": ImageOps.mirror,
    "skimage": None,
}


@dataclass
class Case:
    kind: str
    stack: dict[str, Any]
    extra: str = ""

    def altered(self) -> dict[str, Any]:
        return {axis: value for axis, value in self.stack.items() if value != served.REFERENCE[axis]}


def cases(recipes: int, seed: int, at_native: bool) -> Iterator[Case]:
    rng = np.random.default_rng(seed)

    def stack(count: int) -> dict[str, Any]:
        while True:
            drawn = served.draw_stack(rng, count)
            if at_native or drawn["size"] is None:
                return drawn

    for number in range(recipes):
        yield Case("1-4", stack(1 + number % 4))
    for number in range(recipes // 2):
        yield Case("5-6", stack(5 + number % 2))
    for number in range(36 * recipes // 40):
        extra = list(EXTRAS)[number % len(EXTRAS)]
        drawn = stack(number // len(EXTRAS) if number >= len(EXTRAS) else 0)
        yield Case("unlisted", drawn | ({"resize": "skimage linear"} if extra == "skimage" else {}), extra)


def verdict(case: Case, search: Search, names: list[Any], size: int) -> str:
    """Compares the named alterations with those that were drawn, as far as they move these files at all."""
    truth = {axis: served.as_value(axis, value, size) for axis, value in case.altered().items()}
    wrong = [axis for axis, values in names if truth.get(axis) not in values]
    if wrong:
        return "wrong"
    if case.extra:
        return f"{len(names)} of {len(truth) - (case.extra == 'skimage')} named"
    missing = {*truth} - {axis for axis, _ in names}
    full = search.reference
    for axis, value in truth.items():
        full = full.having(axis, value)
    for axis in missing:  # no difference that the rules would name
        without = full.having(axis, getattr(search.reference, axis))
        if search.apart(full, without, search.everything) > DECISIVE * search.floor(search.reference):
            return "missed"
    return "tie" if missing or any(len(values) > 1 for _, values in names) else "exact"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("photos", metavar="PHOTOS", type=Path)
    parser.add_argument("--recipes", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--kind", help="only these cases: 1-4, 5-6 or unlisted")
    parser.add_argument("--skip", type=int, default=0, help="leave out so many cases")
    options = parser.parse_args()
    print(describe_machine())
    keep_memory()
    paths = sorted(path for path in options.photos.iterdir() if path.suffix.lower() in (".jpeg", ".jpg"))[:12]
    files = served.twelve_files([Image.open(path) for path in paths])
    encoder: Any = embedshift.load_encoder("dinov2-small-offline", size=options.size)
    stack = served.Served(encoder.module, options.size)
    encodings = Encodings(encoder, files)
    counts: dict[str, Counter[str]] = {}
    seconds_of_searches = 0.0
    drawn = cases(options.recipes, options.seed, options.size == 224)
    for case in [case for case in drawn if options.kind in (None, case.kind)][options.skip :]:
        vectors = stack(files, case.stack, EXTRAS.get(case.extra))
        units = vectors.astype(np.float64) / np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
        start, before = time.process_time(), len(encodings.passes)
        encodings.most = before + MOST
        search = Search(encodings, units)
        recipe = search.run()
        names = search.named(recipe)
        path = [*search.walk(names)]
        seconds, encoded = time.process_time() - start, len(encodings.passes) - before
        seconds_of_searches += seconds
        judged = verdict(case, search, names, options.size)
        counts.setdefault(case.kind, Counter())[judged] += 1
        first = search.distance(encodings.reference, search.everything)
        left = path[-1][1] if path else first
        print(
            f"{case.kind:9}{judged:10}{first:9.2g} → {left:8.2g}  {encoded:4d} encodings {seconds:6.1f} s  "
            f"{case.altered()} {case.extra} → {names}"
            + (
                f" SEARCHED {[(a, getattr(recipe, a)) for a in recipe.differences(search.reference)]}"
                if judged in ("wrong", "missed")
                else ""
            ),
            flush=True,
        )
    for kind, verdicts in counts.items():
        print(f"{kind}: " + ", ".join(f"{count} {name}" for name, count in sorted(verdicts.items())))
    print(f"{len(encodings.passes)} encodings, {seconds_of_searches:.0f} CPU seconds of searches")
    sys.exit(1 if any(verdicts["wrong"] for verdicts in counts.values()) else 0)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
