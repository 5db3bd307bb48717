"""The images of a study in a browser: points, filters, a marked range, and one image with its views."""

import pytest

from embedshift.app.page import make_page
from embedshift.app.server import serving
from embedshift.store.shards import Failure
from support.report_fixtures import CLOSING, NASTY
from support.synthetic import make_study

pytestmark = [pytest.mark.slow, pytest.mark.matrix]

POINTS = "#points svg [aria-roledescription=point]"
COUNTED = f"document.querySelectorAll('{POINTS}').length"


def open_study(page, count=12):
    page.get_by_role("tab", name="Study").click()
    page.wait_for_function(f"{COUNTED} === {count}")
    return page


def names(page):
    """The names of the points from left to right, of their texts for screen readers."""
    labels = page.eval_on_selector_all(POINTS, "all => all.map(one => one.ariaLabel)")
    return [label.partition("; name: ")[2] for label in labels]


def choose(page, field, text):
    """Chooses an entry of a list by the keyboard."""
    page.focus(f"#{field} input")
    page.keyboard.press("Control+A")
    page.keyboard.type(text)
    page.keyboard.press("Enter")


def row(reader, name, view):
    return reader.rows().collect().filter(image_id=name, view=view).to_dicts()[0]


@pytest.mark.parametrize("width", [1280, 380])
def test_a_marked_range_shows_its_first_image_and_its_views(visit, reader, width):
    page = open_study(visit(width))
    ordered = names(page)
    assert sorted(ordered) == [f"picture-{number:02d}.png" for number in range(12)]
    page.locator(POINTS).nth(4).scroll_into_view_if_needed()
    middles = page.eval_on_selector_all(
        POINTS, "all => all.map(one => one.getBoundingClientRect()).map(box => [box.x + box.width / 2, box.y])"
    )
    begin, end = middles[4][0] - 2, middles[5][0] + 2
    marked = [name for name, (x, _) in zip(ordered, middles, strict=True) if begin < x < end]
    page.mouse.move(begin, middles[4][1] + 20)
    page.mouse.down()
    page.mouse.move(end, middles[4][1] + 30, steps=5)
    page.mouse.up()
    page.wait_for_selector(f"#detail-message h3:has-text('{marked[0]}')")
    # While the mouse moves, the page counts what is marked so far.
    page.wait_for_selector(f"#counted:has-text('{len(marked)} images marked')")
    page.wait_for_function("document.querySelectorAll('#views img').length === 20")
    cosine = row(reader, marked[0], "noise")["cosine_similarity"]
    assert f"cosine {cosine:.3f}" in page.locator("#views .caption-label", has_text="noise").first.inner_text()
    complete = "[...document.querySelectorAll('#views img')].every(one => one.complete && one.naturalWidth === 32)"
    page.wait_for_function(complete)
    assert page.inner_text("#metrics").count("no change") == len(reader.metrics)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.focus("#image input")
    assert [option.split()[-1] for option in page.locator("[role=option]").all_inner_texts()] == marked


def test_an_image_by_keyboard(visit):
    page = open_study(visit())
    choose(page, "image", "picture-07")
    page.wait_for_selector("#detail-message h3:has-text('picture-07.png')")
    choose(page, "image", "picture-11")
    page.wait_for_selector("#detail-message h3:has-text('picture-11.png')")
    choose(page, "augmentation", "blur")
    page.wait_for_selector("#detail-message h3", state="detached")  # its numbers would be those of noise


def test_filters_and_axes(visit, reader):
    page = open_study(visit())
    page.fill("#name-part input, #name-part textarea", "picture-1")
    page.wait_for_function(f"{COUNTED} === 2")
    page.fill("#name-part input, #name-part textarea", "")
    page.wait_for_function(f"{COUNTED} === 12")
    choose(page, "augmentation", "blur")
    rows = reader.rows().collect().filter(view="blur").to_dicts()
    distances = {row["image_id"]: row["l2_distance"] for row in rows}
    order = sorted(distances, key=distances.get)
    first = f"document.querySelector('{POINTS}').ariaLabel.endsWith({order[0]!r})"
    page.wait_for_function(first)
    assert names(page) == order
    choose(page, "across", "edge_preservation")
    page.wait_for_selector("#points svg :text('edge preservation')")
    page.fill("#least input", "1000")
    page.wait_for_selector("#counted:has-text('No image is left')")


def test_no_points_overtake_later_ones(visit, monkeypatch):
    """Three texts, typed before the first of them is answered."""
    page = open_study(visit())
    for text in ("picture-0", "picture-1", "picture-03"):
        page.fill("#name-part input, #name-part textarea", text)
    page.wait_for_function(f"{COUNTED} === 1")
    page.wait_for_timeout(1000)
    assert names(page) == ["picture-03.png"]


def test_an_image_that_is_gone_is_a_line(visit, photos):
    path = photos / "picture-05.png"
    data = path.read_bytes()
    page = open_study(visit())
    path.unlink()
    try:
        choose(page, "image", "picture-05")
        page.wait_for_selector("#detail-message .error:has-text('No such file')")
    finally:
        path.write_bytes(data)


def test_names_and_reasons_are_text(visit, tmp_path):
    failures = [Failure("<b>broken</b>.jpg", "decode", "damaged </li><script>alert(4)</script>")]
    hostile = [*NASTY, CLOSING]
    reader = make_study(tmp_path / "study", hostile, with_pictures=True, failures=failures).reader()
    with serving(lambda: make_page("<img src=x onerror=alert(5)>", reader)) as (address, _):
        page = visit(address=address, ready="[role=tab]")
        open_study(page, len(hostile))
        for place, name in enumerate(names(page)):
            page.locator(POINTS).nth(place).hover(force=True)
            page.wait_for_function(
                "name => document.querySelector('#vg-tooltip-element')?.innerText.includes(name)", arg=name[:20]
            )
            assert name in hostile
        for name in hostile:
            choose(page, "image", name)
            page.wait_for_function("name => document.querySelector('#detail-message h3')?.innerText === name", arg=name)
        page.get_by_text("1 image could not be measured").click()
        page.wait_for_selector("#failures [role=gridcell]:has-text('<b>broken</b>.jpg')")
        assert page.locator("img[onerror], img[src='x'], main script, b:text('broken')").count() == 0
        page.context.close()  # before the server, whose page would ask in vain
