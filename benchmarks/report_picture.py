"""The screenshot of a report for the README: its first section, 1,600 pixels wide, in light.

usage: python benchmarks/report_picture.py STUDY [FOLDER]
"""

import argparse
import os
import shutil
from pathlib import Path

from playwright.sync_api import FloatRect, sync_playwright

FOLDER = Path(__file__).parents[1] / "docs" / "images"
WIDTH = 1600
MARGIN = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("study", metavar="STUDY", type=Path)
    parser.add_argument("folder", metavar="FOLDER", type=Path, nargs="?", default=FOLDER)
    options = parser.parse_args()
    report, folder = options.study.resolve() / "report.html", options.folder
    folder.mkdir(parents=True, exist_ok=True)
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": WIDTH, "height": 1000}, color_scheme="light")
        page.goto(report.as_uri())
        page.wait_for_selector("#answer .changes")
        height = page.evaluate("document.querySelectorAll('main section')[1].getBoundingClientRect().top + scrollY")
        first: FloatRect = {"x": 0, "y": 0, "width": WIDTH, "height": height - MARGIN}
        page.screenshot(path=folder / "report.png", clip=first, full_page=True)
        browser.close()
    path = folder / "report.png"
    print(f"{path}: {path.stat().st_size / 1e3:.0f} KB")


if __name__ == "__main__":
    main()
