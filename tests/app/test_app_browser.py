"""The page in a browser: an image of your own, and the images of a study, by mouse and keyboard and on a phone."""

import os
import re
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import embedshift
from embedshift.app.measured import all_changes, encoder_from_study, measure_view, open_original
from embedshift.app.server import serving
from support.report_fixtures import CLOSING, NASTY
from support.synthetic import make_study

pytestmark = [pytest.mark.slow, pytest.mark.matrix]

CHANGES = all_changes()
MARKUP = "'\"><img src=x onerror=alert(1)>${alert(2)}{{value}}<script>alert(3)<`script>.png"
POINTS = "#points svg [aria-roledescription=point]"
ROWS = "#images [role=gridcell]:visible, #images tbody td:visible"


@pytest.fixture
def own(tmp_path):
    """Two images, the second one with a name of the worst kind."""
    made = []
    for number, name in enumerate(("own.png", MARKUP)):
        coarse = Image.fromarray(np.random.default_rng(number).integers(0, 256, (6, 8, 3), np.uint8))
        made.append(tmp_path / name)
        coarse.resize((90, 70), Image.Resampling.BICUBIC).save(made[-1])
    return made


def upload(page, path):
    page.set_input_files("#upload input[type=file]", path)


def opened(page, path):
    """The page with an image in it."""
    upload(page, path)
    page.locator("#pictures").get_by_text(f"original: {path.name}").first.wait_for()
    page.wait_for_selector("#answer table")
    return page


def expect(page, path, label, level, page_encoder, draw=0, target="input"):
    """Waits until the page shows this view, whose numbers are computed here without it."""
    (original,) = open_original(path.read_bytes(), path.name, [page_encoder])
    shown, (row,) = measure_view(original, CHANGES[label], level, page_encoder, target, draw=draw)
    page.locator("#pictures").get_by_text(shown[1][0]).first.wait_for()
    page.wait_for_selector(f"#answer:has-text('{row['cosine']:.4f}')")
    cells = dict(line.split("\t") for line in page.inner_text("#answer table").strip().split("\n"))
    assert cells["cosine"] == f"{row['cosine']:.4f}"
    assert cells["search finds it"] == row["search finds it"]
    bars = page.inner_text("#bars").split("\n")
    assert bars[bars.index(row["embeddings"]) + 1] == f"{100 * row['relative shift']:.0f}%"
    assert bars[bars.index("another image") + 1] == "100%"


def choose(page, field, text):
    """Chooses an entry of a list by the keyboard."""
    page.focus(f"#{field} input")
    page.keyboard.press("Control+A")
    page.keyboard.type(text)
    page.keyboard.press("Enter")


def step(page, key, times=1):
    page.focus("#strength input[type=range]")
    for _ in range(times):
        page.keyboard.press(key)


def widths(page, place):
    """Of the images that are drawn."""
    page.eval_on_selector_all(f"{place} img", "all => all.forEach(one => one.loading = 'eager')")
    page.wait_for_function(f"[...document.querySelectorAll('{place} img')].every(one => one.complete)")
    return page.eval_on_selector_all(f"{place} img", "all => all.map(one => one.naturalWidth)")


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (380, "dark")])
def test_an_image_of_your_own_is_text_fits_and_is_deleted_as_soon_as_it_is_read(visit, own, of_study, width, scheme):
    page = opened(visit(width, scheme), own[1])
    expect(page, own[1], "strength: jpeg", 3, of_study)
    captions = [f"original: {MARKUP}", "Writes the image as JPEG and reads it again (quality: 25)"]
    assert widths(page, "#pictures") == [32] * 4
    assert page.locator("#pictures .caption-label").all_inner_texts() == [
        *captions, *[f"attention of {of_study.title}"] * 2
    ]  # fmt: skip
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("img[onerror], img[src='x'], main script").count() == 0
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", ground)[:3])) > 600) == (scheme == "light")
    left = [path for path in Path(os.environ["GRADIO_TEMP_DIR"]).rglob("*") if path.is_file()]
    assert {path.suffix for path in left} == {".png"}, "the views that the page shows, at the encoder's size"
    assert "onerror" not in "".join(path.name for path in left)


def test_every_field_by_keyboard(visit, own, of_study):
    page = opened(visit(), own[0])
    step(page, "ArrowLeft", 3)
    expect(page, own[0], "strength: jpeg", 2.85, of_study)
    choose(page, "change", "strength: grey")
    expect(page, own[0], "strength: grey", 2.85, of_study)
    page.get_by_label("the file, at its own size").check()
    for field in ("draw", "strength"):
        before = page.inner_text("#answer table")
        page.fill(f"#{field} input[type=number]", "")
        page.wait_for_selector(f"#message .error:has-text('give the {field} as a number')")
        assert page.inner_text("#answer table") == before
        page.fill(f"#{field} input[type=number]", "4")
        page.wait_for_selector("#message .error", state="detached")
    expect(page, own[0], "strength: grey", 4, of_study, draw=4, target="file")
    choose(page, "change", "paper: noise")
    expect(page, own[0], "paper: noise", 0, of_study, draw=4, target="file")
    page.wait_for_selector("#strength", state="hidden")


def test_no_answer_overtakes_a_later_one(visit, own, of_study, monkeypatch):
    """Three steps of the slider, and another change before the first of them is answered."""
    asked = []

    def slow(*arguments, **settings):
        time.sleep(0.5)
        asked.append(arguments[1].kind.name)
        return measure_view(*arguments, **settings)

    monkeypatch.setattr("embedshift.app.page.measure_view", slow)
    page = opened(visit(), own[0])
    step(page, "ArrowLeft", 3)
    choose(page, "change", "strength: grey")
    page.wait_for_selector("#pictures :text('Grey')")
    page.wait_for_timeout(1500)  # an answer that was still under way would be here
    assert asked[-1] == "grey"
    expect(page, own[0], "strength: grey", 2.85, of_study)


def test_the_later_of_two_steps_at_once_is_answered(visit, own, of_study):
    """The first of two requests is held back for half a second."""
    page, held = opened(visit(), own[0]), []

    def hold(route):
        held.append(route)
        if len(held) > 1:
            route.continue_()

    page.route("**/queue/join*", hold)
    page.evaluate("""async () => {
        const slider = document.querySelector("#strength input[type=range]");
        for (const value of [2.5, 2]) {
            slider.value = value;
            slider.dispatchEvent(new Event("input", {bubbles: true}));
            await new Promise(next => setTimeout(next, 0));
        }
    }""")
    page.wait_for_timeout(500)
    held[0].continue_()
    page.wait_for_timeout(1500)
    expect(page, own[0], "strength: jpeg", 2, of_study)


def test_two_tabs_share_nothing(visit, own, of_study):
    tabs = [opened(visit(), path) for path in own]
    for tab, path, key, level in zip(tabs, own, ("ArrowLeft", "ArrowRight"), (2.95, 3.05), strict=True):
        step(tab, key)
        expect(tab, path, "strength: jpeg", level, of_study)
        assert path.name in tab.inner_text("#pictures")
    third = visit()
    step(third, "ArrowLeft")
    third.wait_for_timeout(500)
    assert third.locator("#pictures img").count() == 0


def test_two_encoders_and_a_map_side_by_side(page_module, visit, own, of_photos, reader):
    whitened = encoder_from_study(reader, maps=[embedshift.fit_index(reader.folder, "whiten-originals")])
    with serving(lambda: page_module.make_page([whitened, of_photos])) as (address, _):
        page = opened(visit(390, address=address), own[0])
        titles = [space.name for encoder in (whitened, of_photos) for space in encoder.spaces]
        assert page.inner_text("#answer table").split("\n")[0].split("\t")[1:] == titles
        assert {*titles} < {*page.inner_text("#bars").split("\n")}
        assert len(widths(page, "#pictures")) == 6
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.context.close()  # before the server, whose page would ask in vain


# The images of a study.


def open_study(page, count=12):
    page.get_by_role("tab", name="Study").click()
    page.wait_for_function(f"document.querySelectorAll('{POINTS}').length === {count}")
    page.locator(ROWS).first.wait_for()
    return page


def names(page):
    """The names of the images in the table, from the top."""
    return [cell for cell in page.locator(ROWS).all_inner_texts() if cell.endswith(".png")]


def shown(page, name):
    """Waits until the page shows the views of an image."""
    page.wait_for_function("name => document.querySelector('#detail-message h3')?.innerText === name", arg=name)


def ordered(reader, view):
    return reader.rows().collect().filter(view=view).sort("cosine_similarity")["image_id"].to_list()


def test_images_are_ordered_filtered_and_shown_with_their_views(visit, reader):
    page, first = open_study(visit(380)), ordered(reader, "noise")
    assert names(page) == first
    page.locator(ROWS).filter(has_text=first[2]).first.click()
    shown(page, first[2])
    page.wait_for_function("document.querySelectorAll('#views img').length === 20")
    row = reader.rows().collect().filter(image_id=first[2], view="noise").to_dicts()[0]
    assert page.locator("#views").get_by_text(f"noise, cosine {row['cosine_similarity']:.3f}").count()
    assert widths(page, "#views") == [32] * 20
    assert page.evaluate("document.documentElement.scrollWidth") <= 380
    choose(page, "image", "picture-11")
    shown(page, "picture-11.png")
    second = ordered(reader, "blur")
    choose(page, "augmentation", "blur")
    page.locator(ROWS).first.get_by_text(second[0]).wait_for()
    assert names(page) == second
    choose(page, "across", "edge_preservation")
    page.wait_for_selector("#points svg :text('edge preservation')")
    page.locator("#images input.search-input").fill("picture-07")
    other = next(name for name in second if name != "picture-07.png")
    page.locator(ROWS).filter(has_text=other).wait_for(state="detached")
    assert names(page) == ["picture-07.png"]


def test_names_and_reasons_are_text(page_module, visit, tmp_path):
    hostile = [*NASTY, CLOSING]
    reader = make_study(tmp_path / "study", hostile, with_pictures=True).reader()
    with serving(lambda: page_module.make_page(["<img src=x onerror=alert(5)>"], reader)) as (address, _):
        page = open_study(visit(address=address, ready="[role=tab]"), len(hostile))
        page.locator(POINTS).first.hover(force=True)
        page.wait_for_selector("#vg-tooltip-element")
        for name in hostile:
            choose(page, "image", name)
            shown(page, name)
        assert page.locator("img[onerror], img[src='x'], main script, b:text('broken')").count() == 0
        page.context.close()  # before the server, whose page would ask in vain
