"""The images of a study in a browser: points, the table, its filter, and one image with its views."""

import pytest

from embedshift.app.server import serving
from support.report_fixtures import CLOSING, NASTY
from support.synthetic import make_study

pytestmark = [pytest.mark.slow, pytest.mark.matrix]

POINTS = "#points svg [aria-roledescription=point]"
ROWS = "#images [role=gridcell]:visible, #images tbody td:visible"


def open_study(page, count=12):
    page.get_by_role("tab", name="Study").click()
    page.wait_for_function(f"document.querySelectorAll('{POINTS}').length === {count}")
    page.locator(ROWS).first.wait_for()
    return page


def names(page):
    """The names of the images in the table, from the top."""
    cells = page.locator(ROWS).all_inner_texts()
    return [cell for cell in cells if cell.endswith(".png")]


def choose(page, field, text):
    """Chooses an entry of a list by the keyboard."""
    page.focus(f"#{field} input")
    page.keyboard.press("Control+A")
    page.keyboard.type(text)
    page.keyboard.press("Enter")


def click(page, name):
    page.locator(ROWS).filter(has_text=name).first.click()
    page.wait_for_function("name => document.querySelector('#detail-message h3')?.innerText === name", arg=name)


def ordered(reader, view):
    rows = reader.rows().collect().filter(view=view).sort("cosine_similarity")
    return rows["image_id"].to_list()


@pytest.mark.parametrize("width", [1280, 380])
def test_the_images_and_the_views_of_one(visit, reader, width):
    page = open_study(visit(width))
    first = ordered(reader, "noise")
    assert names(page) == first
    click(page, first[2])
    page.wait_for_function("document.querySelectorAll('#views img').length === 20")
    row = reader.rows().collect().filter(image_id=first[2], view="noise").to_dicts()[0]
    assert page.locator("#views").get_by_text(f"noise, cosine {row['cosine_similarity']:.3f}").count()
    page.eval_on_selector_all("#views img", "all => all.forEach(one => one.loading = 'eager')")
    complete = "[...document.querySelectorAll('#views img')].every(one => one.complete && one.naturalWidth === 32)"
    page.wait_for_function(complete)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_another_augmentation_another_axis_and_the_filter(visit, reader):
    page = open_study(visit())
    choose(page, "augmentation", "blur")
    second = ordered(reader, "blur")
    page.locator(ROWS).first.get_by_text(second[0]).wait_for()
    assert names(page) == second
    choose(page, "across", "edge_preservation")
    page.wait_for_selector("#points svg :text('edge preservation')")
    page.locator("#images input.search-input").fill("picture-07")
    page.locator(ROWS).filter(has_text=second[0] if second[0] != "picture-07.png" else second[1]).wait_for(
        state="detached"
    )
    assert names(page) == ["picture-07.png"]


def test_an_image_by_keyboard(visit):
    page = open_study(visit())
    for number in ("07", "11"):
        choose(page, "image", f"picture-{number}")
        page.wait_for_selector(f"#detail-message h3:has-text('picture-{number}.png')")
        assert page.locator("#detail-message h3").inner_text() == f"picture-{number}.png"


def test_an_image_that_is_gone_is_a_line(visit, photos):
    path = photos / "picture-05.png"
    data = path.read_bytes()
    page = open_study(visit())
    path.unlink()
    try:
        page.locator(ROWS).filter(has_text="picture-05").first.click()
        page.wait_for_selector("#detail-message .error:has-text('No such file')")
        words = "the image cannot be shown: No such file or directory"
        assert page.locator("#detail-message").inner_text() == words
    finally:
        path.write_bytes(data)


def test_names_and_reasons_are_text(page_module, visit, tmp_path):
    hostile = [*NASTY, CLOSING]
    reader = make_study(tmp_path / "study", hostile, with_pictures=True).reader()
    with serving(lambda: page_module.make_page(["<img src=x onerror=alert(5)>"], reader)) as (address, _):
        page = visit(address=address, ready="[role=tab]")
        open_study(page, len(hostile))
        page.locator(POINTS).first.hover(force=True)
        page.wait_for_selector("#vg-tooltip-element")
        for name in hostile:
            choose(page, "image", name)
            page.wait_for_function("name => document.querySelector('#detail-message h3')?.innerText === name", arg=name)
        assert page.locator("img[onerror], img[src='x'], main script, b:text('broken')").count() == 0
        page.context.close()  # before the server, whose page would ask in vain
