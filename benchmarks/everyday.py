"""What the suite `everyday` costs, change by change; and the contact sheet of `docs/augmentations.md`.

usage: python benchmarks/everyday.py FOLDER [--longest 1024] [--count 12] [--study]
       python benchmarks/everyday.py --sheet docs/images/everyday.webp

CPU milliseconds of one thread are those of one view, the mean over the photos, which are enlarged or reduced to the
longest side. It ends with exit code 1 where the mean over all changes is more than 60 ms. --study measures a study with
CLIP ViT-B/32 (random weights) and two loaders instead, and the CPU seconds of the loaders beside those of the encoder.
The sheet shows four photos that scikit-image and scikit-learn bring.
"""

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw

import embedshift
from embedshift.arrays import Pixels
from embedshift.augmentations import load_suite
from embedshift.augmentations.views import view_seed
from embedshift.sources import FolderSource, images
from embedshift.sources.demo import copy_photos
from fullsize import save_clip
from machine import describe_machine

MOST = 60.0  # CPU milliseconds a view
SHOWN = ("astronaut.png", "chelsea.png", "coffee.png", "china.jpg")
LOADERS = 2
TILE, CAPTION = (150, 110), 15


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", metavar="FOLDER", type=Path, nargs="?")
    parser.add_argument("--longest", type=int, default=1024)
    parser.add_argument("--count", type=int, default=12, help="photos, at most")
    parser.add_argument("--study", action="store_true", help="a study with CLIP ViT-B/32 and two loaders")
    parser.add_argument("--sheet", type=Path, help="write the contact sheet, and measure nothing")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    if options.sheet:
        sheet(options.sheet)
        return
    if options.folder is None:
        parser.error("give a folder of photos, or --sheet")
    samples = FolderSource([str(options.folder)]).samples[: options.count]
    photos = {each.image_id: sized(read(Path(each.location)), options.longest) for each in samples}
    print(describe_machine())
    print(f"{len(photos)} photos, longest side {options.longest} px, one thread\n")
    if options.study:
        study(photos)
    else:
        sys.exit(0 if seconds(photos) <= MOST else 1)


def read(path: Path) -> Pixels:
    return images.decode(path.read_bytes())


def sized(image: Pixels, longest: int) -> Pixels:
    factor = longest / max(image.shape[:2])
    size = [max(1, round(side * factor)) for side in image.shape[1::-1]]
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC))


def seconds(photos: dict[str, Pixels]) -> float:
    """Prints the CPU milliseconds of every change, and returns their mean."""
    spent = []
    print("| change | CPU ms a view |\n|---|---|")
    for change in load_suite("everyday"):
        change.draw(next(iter(photos.values())), 0)  # once unmeasured: letters are kept
        started = time.process_time()
        for name, image in photos.items():
            change.draw(image, view_seed(0, name, change.seed_name, 0))
        spent.append(1000 * (time.process_time() - started) / len(photos))
        print(f"| {change.name} | {spent[-1]:.1f} |")
    print(f"\nmean {np.mean(spent):.1f} ms a view (at most {MOST:g})")
    return float(np.mean(spent))


def study(photos: dict[str, Pixels]) -> None:
    """Prints the seconds of a study, and the CPU seconds of its loaders and of its encoder."""
    with tempfile.TemporaryDirectory() as folder:
        (place := Path(folder) / "photos").mkdir()
        for name, image in photos.items():
            Image.fromarray(image).save(place / f"{name}.jpg", quality=90)
        model, started = str(save_clip(Path(folder) / "clip")), time.monotonic()
        before = _cpu(resource.RUSAGE_CHILDREN)
        embedshift.run(
            place, out=Path(folder) / "study", model=model, augmentations="everyday", workers=LOADERS, device="cpu"
        )
        wall, loaders = time.monotonic() - started, _cpu(resource.RUSAGE_CHILDREN) - before
        views = len(photos) * (1 + len(load_suite("everyday").names))
        encoder, batch = embedshift.load_encoder(model, device="cpu"), np.zeros((34, 224, 224, 3), np.uint8)
        encoder(batch)  # once unmeasured
        before = _cpu(resource.RUSAGE_SELF)
        for _ in range(3):
            encoder(batch)
        alone = (_cpu(resource.RUSAGE_SELF) - before) / 3 / len(batch)
        print(f"study: {wall:.1f} s for {views} views of {len(photos)} photos with {LOADERS} loaders")
        print(f"loaders: {1000 * loaders / views:.1f} CPU ms a view; encoder: {1000 * alone:.1f} CPU ms a view")
        print(f"on cores of their own, {LOADERS} loaders feed {LOADERS * views / loaders:.0f} views a second")


def _cpu(whose: int) -> float:
    used = resource.getrusage(whose)
    return used.ru_utime + used.ru_stime


def sheet(path: Path) -> None:
    """Writes a row of photos for each change, and the originals above."""
    folder = copy_photos(Path(path.parent, "photos-of-the-sheet"))
    photos = {name: sized(read(folder / name), 640) for name in SHOWN}
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    rows = [("original", list(photos.values()))]
    for change in load_suite("everyday"):
        seeds = [view_seed(0, name, change.seed_name, 0) for name in photos]
        rows.append((change.name, [change.draw(*each) for each in zip(photos.values(), seeds, strict=True)]))
    columns = 2  # of changes
    width, height = len(SHOWN) * TILE[0] + 12, TILE[1] + CAPTION
    canvas = Image.new("RGB", (columns * width, -(-len(rows) // columns) * height), "white")
    draw = ImageDraw.Draw(canvas)
    for number, (name, views) in enumerate(rows):
        left, top = number % columns * width, number // columns * height
        draw.text((left + 2, top + 2), name, fill="black")
        for place, view in enumerate(views):
            tile = Image.fromarray(view)
            tile.thumbnail((TILE[0] - 4, TILE[1] - 2), Image.Resampling.LANCZOS)
            canvas.paste(tile, (left + place * TILE[0], top + CAPTION))
    canvas.save(path, quality=80, method=6)
    print(f"{path}: {canvas.width} x {canvas.height}, {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
