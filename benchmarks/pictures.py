"""Pictures of the pages: the contact sheet of the suite `everyday`, and the screenshot of a report's first screen.

usage: python benchmarks/pictures.py [--sheet docs/images/everyday.webp]
                                     [--report STUDY [--picture docs/images/report.png]]
                                     [--screens FOLDER]

The sheet shows four photos that scikit-image and scikit-learn bring. `--screens` takes a folder of studies with a
report, writes the first screen of each to build/screens, wide and narrow, light and dark, and counts its words beside
names, descriptions, commands and numbers.
"""

import itertools
import tempfile
from pathlib import Path

from PIL import Image, ImageDraw
from playwright.sync_api import ViewportSize

from bench import ROOT, arguments, print_head, print_row
from embedshift.augmentations import load_suite
from embedshift.augmentations.views import view_seed
from embedshift.sources.demo import copy_photos
from strength import read_sized
from support.chromium import launched
from support.report_fixtures import WORDS

SHOWN = ("astronaut.png", "chelsea.png", "coffee.png", "china.jpg")
TILE, CAPTION, COLUMNS = (150, 110), 15, 2
SCREENS = ((1280, 900), (390, 844))
WIDTH, HEIGHT = SCREENS[0]


def main() -> None:
    picture = str(ROOT / "docs" / "images" / "report.png")
    options = arguments(__doc__, sheet=Path, report=Path, picture=picture, screens=Path)
    if options.sheet:
        write_sheet(options.sheet)
    if options.report:
        photograph(options.report.resolve() / "report.html", Path(options.picture))
    if options.screens:
        print_head("study", "width", "theme", "ends at", "words", "page, MB")
        for report in sorted(options.screens.resolve().glob("*/report.html")):
            write_screens(report, ROOT / "build" / "screens")


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
    """Writes the first screen of a report, in light."""
    with launched() as browser:
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        page.goto(report.as_uri())
        page.wait_for_selector("#answer .now")
        page.screenshot(path=path)
    print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")


def write_screens(report: Path, folder: Path) -> None:
    """Writes the first screen of a study's report in each width and theme, and prints what is on it."""
    folder.mkdir(parents=True, exist_ok=True)
    study = report.parent.name
    with launched() as browser:
        for (width, height), theme in itertools.product(SCREENS, ("light", "dark")):
            size: ViewportSize = {"width": width, "height": height}
            page = browser.new_page(viewport=size, color_scheme="dark" if theme == "dark" else "light")
            page.goto(report.as_uri())
            page.wait_for_selector("#answer .now")
            page.screenshot(path=folder / f"{study}-{width}-{theme}.png")
            end = page.evaluate("document.querySelector('.head').getBoundingClientRect().bottom")
            megabytes = f"{report.stat().st_size / 1e6:.2f}"
            print_row(study, width, theme, round(end), len(page.evaluate(WORDS)), megabytes)


if __name__ == "__main__":
    main()
