"""Duplicates: planted copies that are found, false pairs, and seconds and memory of a large collection.

usage: python benchmarks/duplicates.py [PHOTO_DIR] [--draws 20] [--images 100000]

With photos: each is embedded once by the bundled encoder, and some with copies: mild views of the paper's, and edits of
the file by Pillow. Each draw takes some of the photos and plants copies; the map is that of the views of 40 photos. All
pairs of two photos are false. Without photos: vectors of 40 tight classes, of which all pairs are false, and random
vectors, of which only the number is that of a large collection.
Ends with exit code 1 where a limit is missed.
"""

import argparse
import io
import itertools
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance

import embedshift
from embedshift.arrays import Floats, Pixels
from embedshift.statistics.duplicates import EXPECTED_FALSE, MOST_IN_SETS, fit_tail, pairs_above, sets_of
from embedshift.statistics.vectors import normalised_float32
from embedshift.statistics.whitening import Whitening, moments_of
from machine import describe_machine

Picture = Image.Image
MILD = ("blur", "perspective", "horizontal_flip", "color_jitter", "coarse_dropout")
FITTED, COPIED, SECONDS, GIBIBYTES = 40, 60, 300.0, 4.0
# Photos, and how many of them have a copy.
CASES = ((50, 10), (100, 10), (160, 10), (160, 30), (160, 0), (50, 30))


def recompressed(image: Picture, quality: int) -> Picture:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def cropped(image: Picture) -> Picture:
    width, height = image.size
    return image.crop((width // 40, height // 40, width - width // 40, height - height // 40))


def watermarked(image: Picture) -> Picture:
    marked = image.copy()
    place = (image.width // 20, image.height * 17 // 20)
    size = max(12, image.height // 14)
    ImageDraw.Draw(marked, "RGBA").text(place, "(c) example", fill=(255, 255, 255, 160), font_size=size)
    return marked


EDITS: dict[str, Callable[[Picture], Picture]] = {
    "JPEG 40": lambda image: recompressed(image, 40),
    "JPEG 75": lambda image: recompressed(image, 75),
    "crop 95 %": cropped,
    "brightness 1.2": lambda image: ImageEnhance.Brightness(image).enhance(1.2),
    "brightness 0.8": lambda image: ImageEnhance.Brightness(image).enhance(0.8),
    "contrast 1.2": lambda image: ImageEnhance.Contrast(image).enhance(1.2),
    "colour 0.7": lambda image: ImageEnhance.Color(image).enhance(0.7),
    "half size": lambda image: image.resize((image.width // 2, image.height // 2)),
    "watermark": watermarked,
    "crop, JPEG 60": lambda image: recompressed(cropped(image), 60),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", metavar="PHOTO_DIR", type=Path, nargs="?")
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--images", type=int, default=100_000)
    options = parser.parse_args()
    print(describe_machine())
    missed = (
        planted(options.folder, options.draws) if options.folder else classes(2 * options.draws) | large(options.images)
    )
    sys.exit(missed)


def planted(folder: Path, draws: int) -> bool:
    """Prints what is found of planted copies; returns whether a limit is missed."""
    started = time.process_time()
    paths = sorted(path for path in folder.iterdir() if path.is_file())
    encoder, rng = embedshift.load_encoder("dinov2-small-offline"), np.random.default_rng(0)
    order = rng.permutation(len(paths))
    fitted, copied = {*order[:FITTED].tolist()}, {*order[-COPIED:].tolist()}
    originals, views, copies = [], [], {}
    for number, path in enumerate(paths):
        photo = Image.open(path).convert("RGB")
        drawn = views_of(photo, path.name, 0)
        embedded = encoder(np.stack([*drawn.values()] if number in fitted else [drawn["original"]])).embedding
        originals.append(embedded[0])
        if number in fitted:
            views.append(embedded)
        if number in copied:
            mild = views_of(photo, path.name, 1)
            edited = [views_of(edit(photo), path.name, 0)["original"] for edit in EDITS.values()]
            copies[number] = encoder(np.stack([*(mild[name] for name in MILD), *edited])).embedding
    base, shifted = np.stack(originals), np.stack(views)
    matrix = moments_of(shifted[:, 0], shifted[:, 1:].transpose(1, 0, 2)).by_shifts().matrix
    print(f"{len(paths)} photos embedded in {time.process_time() - started:.0f} s of CPU")
    print_nearest(base, matrix, [path.name for path in paths])
    missed = False
    for is_whitened in (True, False):
        for photos, copies_planted in CASES:
            missed |= case(base, copies, matrix if is_whitened else None, photos, copies_planted, draws, rng)
    return missed


def views_of(photo: Picture, name: str, seed: int) -> dict[str, Pixels]:
    return embedshift.make_views(np.asarray(photo.convert("RGB")), image_id=name, seed=seed)


def space(vectors: Floats, matrix: Floats | None) -> Floats:
    return (
        normalised_float32(vectors)
        if matrix is None
        else Whitening(normalised_float32(vectors).mean(axis=0), matrix)(vectors)
    )


def print_nearest(base: Floats, matrix: Floats, names: list[str]) -> None:
    vectors = space(base, matrix)
    tail = fit_tail(vectors, None, seed=0)
    assert tail is not None
    first, second = pairs_above(vectors, tail.threshold(3.0), 8)
    for one, other in zip(first, second, strict=True):
        cosine = float(vectors[one] @ vectors[other])
        print(f"  {cosine:.3f} (expected {tail.expected(cosine):.2f}): {names[one]}, {names[other]}")


def case(
    base: Floats, copies: dict[int, Floats], matrix: Floats | None, photos: int, count: int, draws: int,
    rng: np.random.Generator,
) -> bool:  # fmt: skip
    """Draws collections and prints the mean numbers; returns whether a limit is missed."""
    false, found, by_kind = [], 0, np.zeros((2, len(MILD) + len(EDITS)))
    for _ in range(draws):
        sources = rng.permutation([*copies])[:count]
        others = [number for number in rng.permutation(len(base)) if number not in sources][: photos - count]
        kinds = rng.integers(0, by_kind.shape[1], count)
        chosen = np.array([*sources, *others, *sources], np.int64)
        planted_copies = [copies[source][kind] for source, kind in zip(sources, kinds, strict=True)]
        vectors = space(np.stack([*base[chosen[:photos]], *planted_copies]), matrix)
        tail = fit_tail(vectors, None, seed=0)
        assert tail is not None
        first, second = pairs_above(vectors, tail.threshold(EXPECTED_FALSE), 10_000)
        same = chosen[first] == chosen[second]
        false.append(int((~same).sum()))
        found += int(same.sum())
        hit = np.maximum(first, second)[same] - photos
        by_kind += np.stack([np.bincount(part, minlength=by_kind.shape[1]) for part in (kinds[hit], kinds)])
    part = found / max(1, draws * count)
    name = "plain" if matrix is None else "whitened"
    print(
        f"{name}, {photos} photos and {count} copies: found {part:.3f}, false {np.mean(false):.2f} (most {max(false)})"
    )
    if matrix is None:
        return float(np.mean(false)) > 1.5
    labels = [*MILD, *EDITS]
    least = sorted((hits / of, labels[k]) for k, (hits, of) in enumerate(by_kind.T) if of)[:3]
    print("   least found: " + ", ".join(f"{label} {rate:.2f}" for rate, label in least))
    return not (1 / 1.5 <= np.mean(false) <= 1.5) or (count > 0 and part < 0.95)


def classes(draws: int) -> bool:
    """Prints false pairs where one is expected, and how often the line says that it does not hold."""
    print("\n| images in 40 classes | dimensions | spread within | line, % of sets | false pairs without it |")
    print("|---|---|---|---|---|")
    worst = 0.0
    for images, dim, spread in itertools.product((100, 200, 400), (64, 384), (0.3, 0.5, 0.7, 1.0)):
        without: list[int] = []
        for seed in range(draws):
            rng = np.random.default_rng([seed, images, dim])
            centres, spreads = rng.normal(size=(40, dim)), spread * rng.lognormal(sigma=0.3, size=(40, 1))
            of = np.arange(images) % 40
            vectors = normalised_float32(centres[of] + spreads[of] * rng.normal(size=(images, dim)))
            tail = fit_tail(vectors, None, seed=seed)
            assert tail is not None
            pairs = pairs_above(vectors, tail.threshold(EXPECTED_FALSE), 10_000)
            if sets_of(pairs, images)[1].sum() <= MOST_IN_SETS * EXPECTED_FALSE:
                without.append(len(pairs[0]))
        mean = float(np.mean(without or [0]))
        worst = max(worst, mean)
        print(f"| {images} | {dim} | {spread} | {100 * (1 - len(without) / draws):.0f} | {mean:.2f} |", flush=True)
    return worst > 1.5


def large(images: int) -> bool:
    """Prints seconds and memory for random vectors in 384 dimensions, a thousand of them with a copy."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((images, 384), np.float32)
    vectors[-1_000:] = vectors[:1_000] + 0.3 * rng.standard_normal((1_000, 384), np.float32)
    started = time.perf_counter()
    vectors = normalised_float32(vectors)
    tail = fit_tail(vectors, None, seed=0)
    assert tail is not None
    first, second = pairs_above(vectors, tail.threshold(EXPECTED_FALSE), 10_000)
    seconds = time.perf_counter() - started
    true = int((second - first == images - 1_000).sum())
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{images:,} random vectors: threshold {tail.threshold(EXPECTED_FALSE):.3f}, {true} of 1,000 copies found")
    print(f"{len(first) - true} false; {seconds:.0f} s (limit {SECONDS:.0f}), {memory:.2f} GiB (limit {GIBIBYTES:.0f})")
    return seconds > SECONDS or memory > GIBIBYTES or true < 950 or len(first) - true > 3


if __name__ == "__main__":
    main()
