"""The page of `embedshift app`: how long a step of the slider takes to answer, in headless Chromium.

usage: python benchmarks/app.py STUDY [--steps 20] [--picture FILE]

STUDY is a finished study whose images lie in `STUDY/photos`, as `embedshift demo --out STUDY` makes one. A step is
timed in the browser, from the slider's event to the changed page; beside it, what the server takes of that: the view is
drawn, encoded and searched for. With a file, a screenshot of the page is written there as WebP, with a map fitted
to the study.
"""

import argparse
import io
import os
import shutil
import statistics
import time
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from embedshift import whiten
from embedshift.app.measured import Original, PageEncoder, all_changes, encoder_from_study, measure_view, open_original
from embedshift.app.page import make_page
from embedshift.app.server import serving
from embedshift.study import load
from machine import describe_machine

CHANGE = all_changes()["strength: noise"]
SLIDER = "#strength input[type=range]"
WATCH = """(wanted) => {
  window.answered = new Promise((done) => {
    const slider = document.querySelector("#strength input[type=range]"), shown = document.querySelector("#pictures");
    slider.addEventListener("input", () => {
      const begun = performance.now();
      const watch = new MutationObserver(() => {
        if (!shown.innerText.includes(wanted)) return;
        watch.disconnect();
        done(performance.now() - begun);
      });
      watch.observe(shown, { childList: true, subtree: true, characterData: true });
    }, { once: true, capture: true });
  });
}"""


def words(level: float) -> str:
    """What the page says of the view."""
    augmentation = CHANGE.at(level)
    assert augmentation is not None
    return augmentation.description


def in_browser(page: Page, level: float) -> float:
    """Seconds of a step of the slider to this level, from its event to the changed page."""
    page.evaluate(WATCH, words(level))
    page.keyboard.press("ArrowRight")
    return float(page.evaluate("window.answered")) / 1000


def on_server(page_encoder: PageEncoder, original: Original, level: float) -> float:
    """Seconds of the same without a browser."""
    started = time.perf_counter()
    measure_view(original, CHANGE, level, page_encoder, "input")
    return time.perf_counter() - started


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("study", type=Path)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    reader = load(options.study).reader()
    photo = options.study / "photos" / "coffee.png"
    maps = [whiten(options.study, map="shifts")] if options.picture else []
    page_encoder = encoder_from_study(reader, maps=maps)
    (original,) = open_original(photo.read_bytes(), photo.name, [page_encoder])
    times: dict[str, list[float]] = {"in the browser": [], "of that on the server": []}
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with serving(lambda: make_page([page_encoder], reader)) as (address, _), sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1280, "height": 840}, color_scheme="light")
        page.goto(address)
        page.set_input_files("#upload input[type=file]", photo)
        page.wait_for_selector("#answer table")
        page.focus("#change input")
        page.keyboard.press("Control+A")
        page.keyboard.type("strength: noise")
        page.keyboard.press("Enter")
        page.wait_for_selector(f"#pictures :text('{words(3)}')")
        page.focus(SLIDER)
        for step in range(options.steps):  # in turns, so that both see the same load
            times["in the browser"].append(in_browser(page, 3 + (step + 1) / 20))
            times["of that on the server"].append(on_server(page_encoder, original, 3 + (step + 1) / 20))
        if options.picture:
            page.fill("#strength input[type=number]", "2")
            page.wait_for_selector(f"#pictures :text('{words(2)}')")
            page.wait_for_timeout(500)
            picture = Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB")
            picture.save(options.picture, quality=85, method=6)
        browser.close()
    print(describe_machine(), f"load {os.getloadavg()[0]:.1f}", sep=", ", end="\n\n")
    print("| a step of the slider | median seconds | most | steps |", "|---|---|---|---|", sep="\n")
    for name, found in times.items():
        print(f"| {name} | {statistics.median(found):.2f} | {max(found):.2f} | {len(found)} |")
    if options.picture:
        print(f"{options.picture}: {options.picture.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
