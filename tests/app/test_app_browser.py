"""One image of your own, in a browser: mouse, keyboard, a phone's width, and files of the worst kind."""

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

pytestmark = [pytest.mark.slow, pytest.mark.matrix]

CHANGES = all_changes()
MARKUP = ("<img src=x onerror=alert(1)>.png", "${alert(2)}{{value}}.png", "'\"><script>alert(3)<`script>.png")


@pytest.fixture
def own(tmp_path):
    """An image, and another one."""
    made = []
    for number in (1, 2):
        coarse = Image.fromarray(np.random.default_rng(number).integers(0, 256, (6, 8, 3), np.uint8))
        made.append(tmp_path / f"own-{number}.png")
        coarse.resize((90, 70), Image.Resampling.BICUBIC).save(made[-1])
    return made


def upload(page, path):
    page.set_input_files("#upload input[type=file]", path)


def opened(page, path):
    """The page with an image in it."""
    upload(page, path)
    page.wait_for_selector(f"#pictures :text('original: {path.name}')")
    page.wait_for_selector("#answer table")
    return page


def expect(page, path, label, level, page_encoder, draw=0, target="input"):
    """Waits until the page shows this view, whose numbers are computed here without it."""
    (original,) = open_original(path.read_bytes(), path.name, [page_encoder])
    shown, (row,) = measure_view(original, CHANGES[label], level, page_encoder, target, draw=draw)
    page.locator("#pictures").get_by_text(shown[1][0]).first.wait_for()
    page.wait_for_selector(f"#answer:has-text('{row['cosine']:.4f}')")
    cells = dict(line.split("\t") for line in page.inner_text("#answer").strip().split("\n"))
    assert cells["cosine"] == f"{row['cosine']:.4f}"
    assert cells["search finds it"] == row["search finds it"]
    bars = page.inner_text("#bars").split("\n")
    assert bars[bars.index(row["embeddings"]) + 1] == f"{100 * row['relative shift']:.0f}%"
    assert bars[bars.index("another image") + 1] == "100%"


def choose(page, label):
    """Chooses a change by the keyboard."""
    page.focus("#change input")
    page.keyboard.press("Control+A")
    page.keyboard.type(label)
    page.keyboard.press("Enter")


def drawn(page):
    """The widths of the images that are drawn, with their captions."""
    page.eval_on_selector_all("#pictures img", "all => all.forEach(one => one.loading = 'eager')")
    page.wait_for_function("[...document.querySelectorAll('#pictures img')].every(one => one.complete)")
    widths = page.eval_on_selector_all("#pictures img", "all => all.map(one => one.naturalWidth)")
    return widths, page.locator("#pictures .caption-label").all_inner_texts()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 380])
def test_an_image_of_your_own(visit, own, of_study, width, scheme):
    page = opened(visit(width, scheme), own[0])
    expect(page, own[0], "strength: jpeg", 3, of_study)
    captions = [f"original: {own[0].name}", "Writes the image as JPEG and reads it again (quality: 25)"]
    captions += [f"attention of {of_study.title}"] * 2
    assert drawn(page) == ([32] * 4, captions)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", ground)[:3])) > 600) == (scheme == "light")


def test_the_slider_and_the_list_by_keyboard(visit, own, of_study):
    page = opened(visit(), own[0])
    page.focus("#strength input[type=range]")
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    expect(page, own[0], "strength: jpeg", 2.85, of_study)
    choose(page, "strength: grey")
    expect(page, own[0], "strength: grey", 2.85, of_study)
    page.fill("#strength input[type=number]", "1.5")
    expect(page, own[0], "strength: grey", 1.5, of_study)
    page.get_by_label("the file, at its own size").check()
    expect(page, own[0], "strength: grey", 1.5, of_study, target="file")


def test_no_answer_overtakes_a_later_one(visit, own, of_study, monkeypatch):
    """Three steps of the slider, and another change before the first of them is answered."""
    asked = []

    def slow(*arguments, **settings):
        time.sleep(0.5)
        asked.append(arguments[1].kind.name)
        return measure_view(*arguments, **settings)

    monkeypatch.setattr("embedshift.app.page.measure_view", slow)
    page = opened(visit(), own[0])
    page.focus("#strength input[type=range]")
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    choose(page, "strength: grey")
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


def test_a_field_that_was_emptied_is_a_line(visit, own, of_study):
    page = opened(visit(), own[0])
    for field in ("draw", "strength"):
        before = page.inner_text("#answer")
        page.fill(f"#{field} input[type=number]", "")
        page.wait_for_selector(f"#message .error:has-text('give the {field} as a number')")
        assert page.inner_text("#answer") == before
        page.fill(f"#{field} input[type=number]", "4")
        page.wait_for_selector("#message .error", state="detached")
    expect(page, own[0], "strength: jpeg", 4, of_study, draw=4)


def test_a_change_without_strength_has_no_slider(visit, own, of_study):
    page = opened(visit(), own[0])
    choose(page, "paper: noise")
    expect(page, own[0], "paper: noise", 0, of_study)
    page.wait_for_selector("#strength", state="hidden")
    page.fill("#draw input", "1")
    expect(page, own[0], "paper: noise", 0, of_study, draw=1)


def test_from_the_first_key_to_the_answer_by_keyboard_alone(visit, own):
    page = visit()
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('#upload') !== null"):
            break
    chosen = []
    page.on("filechooser", lambda chooser: chosen.append(chooser))
    for _ in range(20):  # the page may be drawn before it answers
        page.keyboard.press("Enter")
        page.wait_for_timeout(500)
        if chosen:
            break
    chosen[0].set_files(own[0])
    page.wait_for_selector("#answer table")
    passed, fields = set(), "#change, #strength, #target, #draw"
    for _ in range(10):
        page.keyboard.press("Tab")
        passed.add(page.evaluate(f"document.activeElement.closest('[id]:is({fields})')?.id"))
    assert passed >= {"change", "strength", "target", "draw"}


def test_files_of_the_worst_kind_are_lines(visit, own, tmp_path):
    page = opened(visit(), own[0])
    before = page.inner_text("#answer")
    broken = tmp_path / "<img src=x onerror=alert(9)>.png"
    for data, words in ((b"no image", "not an image"), (own[1].read_bytes()[:-40], "damaged or ends early")):
        broken.write_bytes(data)
        upload(page, broken)
        page.wait_for_selector(f"#message .error:has-text('{words}')")
        assert page.inner_text("#message").startswith(broken.name)
    assert page.inner_text("#answer") == before
    assert page.locator("img[onerror], img[src='x']").count() == 0
    opened(page, own[1])
    assert page.locator("#message p").count() == 0


@pytest.mark.parametrize("name", MARKUP)
def test_a_name_is_text(visit, own, tmp_path, name):
    nasty = tmp_path / name
    nasty.write_bytes(own[0].read_bytes())
    page = visit()
    upload(page, nasty)
    page.wait_for_selector("#answer table")
    assert name in page.inner_text("#pictures")
    assert page.locator("img[onerror], img[src='x'], main script").count() == 0


def test_forty_megapixels(visit, tmp_path, of_study):
    large = tmp_path / "large.png"
    ground = np.linspace(0, 255, 8_000).astype(np.uint8)
    Image.fromarray(np.broadcast_to(ground[None, :, None], (5_000, 8_000, 3))).save(large, compress_level=1)
    page = visit()
    upload(page, large)
    page.wait_for_selector("#answer table", timeout=60_000)
    assert "large.png" in page.inner_text("#pictures")


def test_two_tabs_share_nothing(visit, own, of_study):
    first, second = opened(visit(), own[0]), opened(visit(), own[1])
    second.focus("#strength input[type=range]")
    second.keyboard.press("ArrowRight")
    expect(second, own[1], "strength: jpeg", 3.05, of_study)
    first.focus("#strength input[type=range]")
    first.keyboard.press("ArrowLeft")
    expect(first, own[0], "strength: jpeg", 2.95, of_study)
    assert own[0].name in first.inner_text("#pictures")
    assert own[1].name in second.inner_text("#pictures")
    third = visit()
    third.focus("#strength input[type=range]")
    third.keyboard.press("ArrowLeft")
    third.wait_for_timeout(500)
    assert third.locator("#pictures img").count() == 0


@pytest.mark.parametrize("width", [1280, 390])
def test_two_encoders_and_a_map_side_by_side(page_module, visit, own, of_study, of_photos, reader, width):
    whitened = encoder_from_study(reader, maps=[embedshift.whiten(reader.folder, map="originals")])
    with serving(lambda: page_module.make_page([whitened, of_photos])) as (address, _):
        page = visit(width, address=address)
        opened(page, own[0])
        titles = [space.name for encoder in (whitened, of_photos) for space in encoder.spaces]
        assert page.inner_text("#answer").split("\n")[0].split("\t")[1:] == titles
        assert {*titles} < {*page.inner_text("#bars").split("\n")}
        assert len(drawn(page)[0]) == 6
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.context.close()  # before the server, whose page would ask in vain


def test_an_upload_is_deleted_as_soon_as_it_is_read(visit, own):
    opened(visit(), own[0])
    files = {path.suffix for path in Path(os.environ["GRADIO_TEMP_DIR"]).rglob("*") if path.is_file()}
    names = {path.name for path in Path(os.environ["GRADIO_TEMP_DIR"]).rglob("*")}
    assert files == {".png"}  # the views that the page shows, at the encoder's size
    assert own[0].name not in names


def test_a_request_to_the_outside_would_be_seen_and_refused(browser, served):
    page, seen = browser.new_page(), []
    page.on("console", lambda message: seen.append(message.text))
    page.goto(served)
    assert page.evaluate("fetch('http://192.0.2.1/x').then(() => 'sent', () => 'refused')") == "refused"
    assert any("Content Security Policy" in each for each in seen)
    page.close()
