"""The images of a study in a browser: points, filters, clicks and keys."""

import pytest


def points(page):
    page.get_by_role("tab", name="Study").click()
    page.wait_for_selector("#points circle")
    return page


def count(page):
    return page.locator("#points circle").count()


def names(page):
    return page.eval_on_selector_all("#points circle", "all => all.map(one => one.dataset.name)")


def row(reader, name, view):
    return reader.rows().collect().filter(image_id=name, view=view).to_dicts()[0]


@pytest.mark.parametrize("width", [1280, 380])
def test_a_click_shows_the_image_and_its_views(visit, reader, width):
    page = points(visit(width))
    assert sorted(names(page)) == [f"picture-{number:02d}.png" for number in range(12)]
    dot = page.locator("#points circle").nth(4)
    name = dot.get_attribute("data-name")
    dot.scroll_into_view_if_needed()
    box = dot.bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_selector("#detail figure")
    assert page.inner_text("#detail h3") == name
    assert page.locator("#detail figure").count() == 20
    cosine = row(reader, name, "noise")["cosine_similarity"]
    assert f"cosine {cosine:.3f}" in page.locator("#detail figure", has_text="noise").first.inner_text()
    drawn = page.eval_on_selector_all("#detail img", "all => all.every(one => one.complete && one.naturalWidth === 32)")
    assert drawn
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_points_by_keyboard(visit):
    page = points(visit())
    ordered = names(page)
    page.focus("#points svg")
    for key, place in (("ArrowRight", 0), ("ArrowRight", 1), ("End", 11), ("ArrowLeft", 10), ("Home", 0)):
        page.keyboard.press(key)
        assert page.inner_text("#points .point").startswith(f"{ordered[place]}: ")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    page.wait_for_selector("#detail h3")
    assert page.inner_text("#detail h3") == ordered[0]


def test_filters_and_axes(visit, reader):
    page = points(visit())
    page.fill("#holds input, #holds textarea", "picture-1")
    page.wait_for_function("document.querySelectorAll('#points circle').length === 2")
    page.fill("#holds input, #holds textarea", "")
    page.wait_for_function("document.querySelectorAll('#points circle').length === 12")
    first = names(page)
    page.click("#augmentation input")
    page.fill("#augmentation input", "blur")
    page.keyboard.press("Enter")
    wanted = {each["image_id"]: each["l2_distance"] for each in reader.rows().collect().filter(view="blur").to_dicts()}
    order = sorted(wanted, key=wanted.get)
    page.wait_for_function("one => document.querySelector('#points circle').dataset.name === one", arg=order[0])
    assert names(page) == order
    assert names(page) != first
    page.fill("#least input", "1000")
    page.wait_for_selector("#points :text('No image is left')")


def test_an_image_that_is_gone_is_a_line(visit, photos):
    path = photos / "picture-05.png"
    held = path.read_bytes()
    page = points(visit())
    path.unlink()
    try:
        page.fill("#holds input, #holds textarea", "picture-05")
        page.wait_for_function("document.querySelectorAll('#points circle').length === 1")
        page.focus("#points svg")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Enter")
        page.wait_for_selector("#detail .error:has-text('No such file')")
    finally:
        path.write_bytes(held)
