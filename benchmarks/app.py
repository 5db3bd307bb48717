"""The page of `embedshift app`: how long a step of the slider takes to answer, in headless Chromium.

usage: python benchmarks/app.py STUDY [--steps 20] [--picture FILE]

STUDY is a finished study whose images lie in `STUDY/photos`, as `embedshift demo --out STUDY` makes one. A step is
timed in the browser, from the slider's event to the changed page. With a file, a screenshot of the page is written
there as WebP, with a map fitted to the study.
"""

import io
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page

from bench import arguments, print_machine, spread
from embedshift import fit_index
from embedshift.app.measured import all_changes, encoder_from_study
from embedshift.app.page import make_page
from embedshift.app.server import serving
from embedshift.study import load
from support.chromium import launched

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


def choose_noise(page: Page, photo: Path) -> None:
    """Uploads the photo, and chooses the change whose slider is moved."""
    page.set_input_files("#upload input[type=file]", photo)
    page.wait_for_selector("#answer table")
    page.focus("#change input")
    page.keyboard.press("Control+A")
    page.keyboard.type("strength: noise")
    page.keyboard.press("Enter")
    page.wait_for_selector(f"#pictures :text('{words(3)}')")
    page.focus(SLIDER)


def write_picture(page: Page, path: Path) -> None:
    page.fill("#strength input[type=number]", "2")
    page.wait_for_selector(f"#pictures :text('{words(2)}')")
    page.wait_for_timeout(500)
    Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB").save(path, quality=85, method=6)
    print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")


def main() -> None:
    options = arguments(__doc__, "study", steps=20, picture=Path)
    reader, photo = load(options.study).reader(), options.study / "photos" / "coffee.png"
    maps = [fit_index(options.study, "whiten")] if options.picture else []
    encoder = encoder_from_study(reader, maps=maps)
    with serving(lambda: make_page([encoder], reader)) as (address, _), launched() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 840}, color_scheme="light")
        page.goto(address)
        choose_noise(page, photo)
        seconds = [in_browser(page, 3 + (step + 1) / 20) for step in range(options.steps)]
        if options.picture:
            write_picture(page, options.picture)
    print_machine()
    print(f"a step of the slider: {spread(seconds)} s, {len(seconds)} steps")


if __name__ == "__main__":
    main()
