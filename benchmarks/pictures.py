"""Pictures of the pages: the contact sheet of the suite `everyday`, and the screenshot of a report's first screen.

usage: python benchmarks/pictures.py [--sheet docs/images/everyday.webp]
                                     [--report STUDY [--picture docs/images/report.png]]

The sheet shows four photos that scikit-image and scikit-learn bring.
"""

import tempfile
from pathlib import Path

from PIL import Image, ImageDraw
from playwright.sync_api import FloatRect

from bench import ROOT, arguments
from embedshift.augmentations import load_suite
from embedshift.augmentations.views import view_seed
from embedshift.sources.demo import copy_photos
from strength import read_sized
from support.chromium import launched

SHOWN = ("astronaut.png", "chelsea.png", "coffee.png", "china.jpg")
TILE, CAPTION, COLUMNS = (150, 110), 15, 2
WIDTH, MARGIN = 1600, 16


def main() -> None:
    options = arguments(__doc__, sheet=Path, report=Path, picture=str(ROOT / "docs" / "images" / "report.png"))
    if options.sheet:
        write_sheet(options.sheet)
    if options.report:
        photograph(options.report.resolve() / "report.html", Path(options.picture))


def write_sheet(path: Path) -> None:
    """Writes a row of photos for each change, and the originals above."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = copy_photos(Path(scratch) / "photos")
        photos = {name: read_sized(folder / name, 640) for name in SHOWN}
    rows = [("original", list(photos.values()))]
    for change in load_suite("everyday"):
        seeds = [view_seed(0, name, change.seed_name, 0) for name in photos]
        rows.append((change.name, [change.draw(*each) for each in zip(photos.values(), seeds, strict=True)]))
    width, height = len(SHOWN) * TILE[0] + 12, TILE[1] + CAPTION
    canvas = Image.new("RGB", (COLUMNS * width, -(-len(rows) // COLUMNS) * height), "white")
    draw = ImageDraw.Draw(canvas)
    for number, (name, views) in enumerate(rows):
        left, top = number % COLUMNS * width, number // COLUMNS * height
        draw.text((left + 2, top + 2), name, fill="black")
        for place, view in enumerate(views):
            tile = Image.fromarray(view)
            tile.thumbnail((TILE[0] - 4, TILE[1] - 2), Image.Resampling.LANCZOS)
            canvas.paste(tile, (left + place * TILE[0], top + CAPTION))
    canvas.save(path, quality=80, method=6)
    print(f"{path}: {canvas.width} x {canvas.height}, {path.stat().st_size / 1000:.0f} kB")


def photograph(report: Path, path: Path) -> None:
    """Writes the first section of a report, 1,600 pixels wide, in light."""
    with launched() as browser:
        page = browser.new_page(viewport={"width": WIDTH, "height": 1000}, color_scheme="light")
        page.goto(report.as_uri())
        page.wait_for_selector("#answer .changes")
        height = page.evaluate("document.querySelectorAll('main section')[1].getBoundingClientRect().top + scrollY")
        first: FloatRect = {"x": 0, "y": 0, "width": WIDTH, "height": height - MARGIN}
        page.screenshot(path=path, clip=first, full_page=True)
    print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
