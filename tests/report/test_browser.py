"""The report in a browser: nothing goes wrong, nothing is asked of the network, and a reader can use it."""

import pytest

from support.report_fixtures import CLOSING, NASTY, TOO_WIDE

pytestmark = pytest.mark.slow

WIDTHS = (1280, 380)

POOR_CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgb = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const linear = (value) => (value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
  const ground = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const colour = rgb(getComputedStyle(each).backgroundColor);
      if (colour[3] > 250) return colour;
    }
    return [255, 255, 255];
  };
  const poor = [];
  const parts = "p, h2, h3, h4, td, th, dt, dd, small, figcaption, button, a, span";
  for (const element of document.querySelectorAll(`main :is(${parts})`)) {
    if (!element.innerText || !element.offsetParent) continue;
    const [a, b] = [light(rgb(getComputedStyle(element).color)), light(ground(element))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) poor.push([element.tagName, element.innerText.slice(0, 30), contrast]);
  }
  return poor;
}"""

# The paper's figures: where each is, and its width as a fraction of its own size.
FIGURES = """[...document.querySelectorAll("#figures .paper")].map((figure) => {
  const [box, image] = [figure.getBoundingClientRect(), figure.querySelector("img")];
  return [Math.round(box.top), Math.round(box.left), image.clientWidth / image.getAttribute("width")];
})"""

# Whether the buttons of a chart lie on its words.
COVERED = """(id) => {
  const chart = document.getElementById(id).closest("figure");
  const bar = chart.querySelector(".modebar").getBoundingClientRect();
  const title = document.createRange();
  title.selectNodeContents(chart.querySelector("figcaption"));
  const boxes = [title, ...chart.querySelectorAll("svg text")].map((each) => each.getBoundingClientRect());
  return boxes.some((box) => box.width && box.left < bar.right && bar.left < box.right
    && box.top < bar.bottom && bar.top < box.bottom);
}"""


def until(page, expression, argument=None):
    """Waits for a JavaScript expression; the page's policy forbids the `eval` that Playwright's own waiting needs."""
    for _ in range(200):
        if page.evaluate(expression, argument):
            return
        page.wait_for_timeout(50)
    pytest.fail(f"never true: {expression}")


def column(page, number):
    return page.locator(f"#summary-table tbody tr > *:nth-child({number})").all_inner_texts()


def names(page):
    """The augmentations of the table, without what each is."""
    return [text.partition("\n")[0] for text in column(page, 1)]


@pytest.mark.matrix
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_fits_and_is_drawn(visit, screenshots, width, scheme):
    page = visit(width, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert width < 1280 or page.evaluate(TOO_WIDE) == []
    figures = page.evaluate(FIGURES)
    assert [place for *place, _ in figures] == sorted(place for *place, _ in figures), "read as they are numbered"
    assert all(0.74 < scale < 1.12 for *_, scale in figures)
    ends = page.evaluate(
        "['.charts', '.chart:last-child'].map((each) => document.querySelector(each).getBoundingClientRect().right)"
    )
    assert ends[0] == pytest.approx(ends[1]), "no empty place beside the last chart"
    for chart in ("cosine", "l2", "tree"):
        assert page.locator(f"#{chart} .scatterlayer .trace").count() > 0
    page.evaluate("document.querySelectorAll('img').forEach((image) => { image.loading = 'eager'; })")
    until(page, "[...document.images].every((image) => !image.src || image.complete)")
    broken = page.evaluate("[...document.images].filter((image) => image.src && image.naturalWidth === 0).length")
    assert broken == 0
    page.screenshot(path=screenshots / f"report-{width}-{scheme}.png", full_page=True)


@pytest.mark.matrix
def test_headings_sort_numbers_and_names(visit, study):
    page = visit()
    relative_shifts = study.summary().filter(metric="cosine_similarity").sort("relative_shift", descending=True)
    assert names(page) == relative_shifts["augmentation"].to_list(), "the furthest moved first"
    means = {row["augmentation"]: row["mean"] for row in study.summary().to_dicts() if row["metric"] == "l2_distance"}
    button = page.locator("#summary-table thead th:nth-child(4) button")
    heading = page.locator("#summary-table thead th:nth-child(4)")
    button.click()
    assert names(page) == sorted(means, key=means.get)
    assert heading.get_attribute("aria-sort") == "ascending"
    button.click()
    assert names(page) == sorted(means, key=means.get, reverse=True)
    assert heading.get_attribute("aria-sort") == "descending"
    page.locator("#summary-table thead th:nth-child(1) button").click()
    assert names(page) == sorted(means)
    assert page.locator("[aria-sort]").count() == 1


@pytest.mark.matrix
def test_filter_shows_one_augmentation_and_its_pictures(visit, study):
    page = visit()
    worst = study.ranking().sort("rank")["augmentation"].to_list()[-1]
    assert page.locator(".group:visible h3").all_inner_texts() == [worst]
    assert page.locator("#shown").inner_text() == "9 of 81 shown"
    page.select_option("#filter", label="elastic")
    assert page.locator(".group:visible h3").all_inner_texts() == ["elastic"]
    assert page.locator(".group:visible .quad figure").count() == 36
    lowest = study.rows().collect().filter(view="elastic").sort("cosine_similarity")["image_id"][0]
    assert page.locator(".group:visible .card h5").first.inner_text() == lowest
    until(page, "[...document.querySelectorAll('.group:not([hidden]) img')].every((i) => i.naturalWidth > 0)")
    page.select_option("#filter", value="all")
    assert page.locator(".group:visible").count() == 9
    assert page.locator("#shown").inner_text() == "81 of 81 shown"


@pytest.mark.matrix
def test_names_are_text(visit):
    page = visit()
    page.select_option("#filter", value="all")
    shown = set(page.locator(".card h5").all_text_contents())
    assert shown >= {*NASTY, CLOSING}
    assert page.locator("img[onerror], img[src='x'], main script").count() == 0
    assert "<b>broken</b>.jpg" in page.locator("#measured").inner_text()


@pytest.mark.matrix
def test_by_keyboard(visit):
    page = visit()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.evaluate("document.activeElement.getBoundingClientRect().top") >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "answer"
    page.locator("#summary-table thead th:nth-child(3) button").focus()
    style = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert style == "solid"
    page.keyboard.press("Enter")
    assert page.locator("#summary-table thead th:nth-child(3)").get_attribute("aria-sort") == "ascending"
    page.keyboard.press("Space")
    assert page.locator("#summary-table thead th:nth-child(3)").get_attribute("aria-sort") == "descending"
    page.locator("#filter").focus()
    before = page.locator(".group:visible h3").inner_text()
    page.keyboard.press("ArrowDown")
    until(page, "(old) => document.querySelector('.group:not([hidden]) h3').innerText !== old", before)
    page.locator("#theme").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


@pytest.mark.matrix
def test_the_headline_column_is_whole_on_a_phone(visit):
    page = visit(380)
    cells = page.evaluate(
        "[...document.querySelectorAll('#summary-table td.headline')].map((cell) => cell.getBoundingClientRect().right)"
    )
    assert len(cells) == 9
    assert max(cells) <= 380


@pytest.mark.matrix
def test_every_scrolling_part_can_be_reached_by_keyboard(visit):
    page = visit(380)
    hidden = page.evaluate(
        """[...document.querySelectorAll("main *")].filter((element) =>
            element.scrollWidth > element.clientWidth + 1 && getComputedStyle(element).overflowX === "auto"
            && element.tabIndex < 0).length"""
    )
    assert hidden == 0


@pytest.mark.matrix
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_theme_follows_the_system_until_the_button(visit, scheme):
    page = visit(1600, scheme)
    ground = "getComputedStyle(document.body).backgroundColor"
    ink = "getComputedStyle(document.querySelector('#cosine .ytick text')).fill"
    first = page.evaluate(ground), page.evaluate(ink)
    assert first[0] == ("rgb(251, 251, 250)" if scheme == "light" else "rgb(20, 22, 26)")
    page.locator("#theme").click()
    second = page.evaluate(ground), page.evaluate(ink)
    assert all(one != other for one, other in zip(first, second, strict=True))
    page.locator("#theme").click()
    assert (page.evaluate(ground), page.evaluate(ink)) == first


@pytest.mark.matrix
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(visit, scheme):
    page = visit(1600, scheme)
    # WCAG's contrast of every text against the nearest ground that is not see-through.
    assert page.evaluate(POOR_CONTRAST) == []


def test_charts_zoom_and_tell_numbers(visit):
    page = visit()
    page.locator("#l2").scroll_into_view_if_needed()
    box = page.locator("#l2 .nsewdrag").bounding_box()
    before = page.evaluate("document.getElementById('l2')._fullLayout.xaxis.range.slice()")
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] * 0.9)
    page.wait_for_selector("#l2 .hoverlayer .hovertext")
    assert not any(page.evaluate(COVERED, chart) for chart in ("cosine", "l2", "tree"))
    assert "95 % interval" in page.locator("#l2 .hoverlayer").text_content()
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + box["height"] * 0.9, steps=5)
    page.mouse.up()
    until(page, "(old) => document.getElementById('l2')._fullLayout.xaxis.range[0] > old", before[0])


@pytest.mark.matrix
def test_without_scripts_the_first_screen_and_tables_are_there(browser, study):
    context = browser.new_context(java_script_enabled=False, viewport={"width": 1600, "height": 900})
    page = context.new_page()
    page.goto((study.folder / "report.html").as_uri())
    assert page.locator("#summary-table tbody tr").count() == 9
    assert page.locator("#answer .changes").is_visible()
    assert page.locator("noscript").is_visible()
    assert "need JavaScript; the tables do not" in page.locator("noscript").inner_text()
    context.close()
