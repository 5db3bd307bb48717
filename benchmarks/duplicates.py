"""Duplicates: planted copies that are found, and false pairs.

usage: python benchmarks/duplicates.py PHOTOS [--draws 20]

Each photo is embedded once by the bundled encoder, and some with copies: mild views of the paper's, and edits of
the file by Pillow. Each draw takes some of the photos and plants copies; the map is that of the views of 40 photos. All
pairs of two photos are false. Ends with exit code 1 where a limit is missed.
"""

import io
import itertools
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance

import embedshift
from bench import BUNDLED, arguments, files_in, print_head, print_machine, print_row
from embedshift.arrays import Floats, Pixels
from embedshift.statistics.duplicates import EXPECTED_FALSE, fit_tail, pairs_above
from embedshift.statistics.vectors import normalised_float32
from embedshift.statistics.whitening import Whitening, moments_of

Picture = Image.Image
MILD = ("blur", "perspective", "horizontal_flip", "color_jitter", "coarse_dropout")
FITTED, COPIED, MOST = 40, 60, 1.5
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


EDITS: tuple[Callable[[Picture], Picture], ...] = (
    lambda image: recompressed(image, 40),
    lambda image: recompressed(image, 75),
    cropped,
    lambda image: ImageEnhance.Brightness(image).enhance(1.2),
    lambda image: ImageEnhance.Brightness(image).enhance(0.8),
    lambda image: ImageEnhance.Contrast(image).enhance(1.2),
    lambda image: ImageEnhance.Color(image).enhance(0.7),
    lambda image: image.resize((image.width // 2, image.height // 2)),
    watermarked,
    lambda image: recompressed(cropped(image), 60),
    lambda image: ImageEnhance.Brightness(image).enhance(1.05),
)
# 14 edits of files, planted in 150 photographs: recompressed, cropped, halved, brightened by 5 %.
PLANTED = (150, 14)
MILDEST = tuple(len(MILD) + number for number in (1, 2, 7, 10))


def main() -> None:
    options = arguments(__doc__, "photos", draws=20)
    print_machine()
    sys.exit(planted(options.photos, options.draws))


def planted(folder: Path, draws: int) -> bool:
    """Prints what is found of planted copies; returns whether a limit is missed."""
    paths, rng = files_in(folder), np.random.default_rng(0)
    base, copies, matrix = embedded(paths, rng)
    print_head("photographs + copies", "space", "found", "false pairs", "most")
    missed = False
    for whitened in (True, False):
        false, found = case(base, copies, matrix if whitened else None, *PLANTED, draws, rng, MILDEST)
        each = f"{found / draws:.2f} of {PLANTED[1]}"
        space = "whitened" if whitened else "plain"
        print_row(f"{PLANTED[0]} + {PLANTED[1]}, mildest", space, each, f"{np.mean(false):.2f}", max(false))
        missed |= whitened and (found < (PLANTED[1] - 1) * draws or float(np.mean(false)) > 3)
    for whitened, (photos, count) in itertools.product((True, False), CASES):
        if photos > len(paths):
            continue
        false, found = case(base, copies, matrix if whitened else None, photos, count, draws, rng)
        part = f"{found / (draws * count):.3f}" if count else "-"
        print_row(f"{photos} + {count}", "whitened" if whitened else "plain", part, f"{np.mean(false):.2f}", max(false))
        missed |= float(np.mean(false)) > MOST or (whitened and 0 < found < 0.95 * draws * count)
    return missed


def embedded(paths: list[Path], rng: np.random.Generator) -> tuple[Floats, dict[int, Floats], Floats]:
    """The vectors of all photos, of the copies of some, and the map of the views of others."""
    encoder, order = embedshift.load_encoder(BUNDLED), rng.permutation(len(paths))
    fitted, copied = {*order[:FITTED].tolist()}, {*order[-COPIED:].tolist()}
    originals, views, copies = [], [], {}
    for number, path in enumerate(paths):
        photo = Image.open(path).convert("RGB")
        drawn = views_of(photo, path.name, 0)
        vectors = encoder(np.stack([*drawn.values()] if number in fitted else [drawn["original"]])).embedding
        originals.append(vectors[0])
        if number in fitted:
            views.append(vectors)
        if number in copied:
            mild = views_of(photo, path.name, 1)
            edited = [views_of(edit(photo), path.name, 0)["original"] for edit in EDITS]
            copies[number] = encoder(np.stack([*(mild[name] for name in MILD), *edited])).embedding
    shifted = np.stack(views)
    return np.stack(originals), copies, moments_of(shifted[:, 0], shifted[:, 1:].transpose(1, 0, 2)).by_shifts().matrix


def views_of(photo: Picture, name: str, seed: int) -> dict[str, Pixels]:
    return embedshift.make_views(np.asarray(photo.convert("RGB")), image_id=name, seed=seed)


def case(
    base: Floats, copies: dict[int, Floats], matrix: Floats | None, photos: int, count: int, draws: int,
    rng: np.random.Generator, edits: tuple[int, ...] = tuple(range(len(MILD) + len(EDITS) - 1)),
) -> tuple[list[int], int]:  # fmt: skip
    """Draws collections; the numbers of false pairs, and of all copies that are found."""
    false, found = [], 0
    for _ in range(draws):
        sources = rng.permutation([*copies])[:count]
        others = [number for number in rng.permutation(len(base)) if number not in sources][: photos - count]
        chosen = np.array([*sources, *others, *sources], np.int64)
        kinds = rng.choice(edits, count)
        planted_copies = [copies[source][kind] for source, kind in zip(sources, kinds, strict=True)]
        vectors = np.stack([*base[chosen[:photos]], *planted_copies])
        unit = normalised_float32(vectors)
        space = unit if matrix is None else Whitening(unit.mean(axis=0), matrix)(vectors)
        tail = fit_tail(space, None, seed=0)
        assert tail is not None
        first, second = pairs_above(space, tail.threshold(EXPECTED_FALSE), 10_000)
        same = chosen[first] == chosen[second]
        false.append(int((~same).sum()))
        found += int(same.sum())
    return false, found


if __name__ == "__main__":
    main()
