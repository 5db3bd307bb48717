"""The report in a browser: nothing goes wrong, nothing is asked of the network, and everyone can read and use it."""

import functools
import shutil
from dataclasses import replace

import pytest

from embedshift.augmentations.family import FAMILIES
from embedshift.sources.base import Failure
from embedshift.statistics.summary import COSINE
from support.chromium import problems, until
from support.graded import DARKER, MADE, graded
from support.matrix import first_only
from support.report_fixtures import CLOSING, NASTY, TOO_WIDE, WORDS
from support.synthetic import make_study

pytestmark = pytest.mark.slow

# A page of 18 families has 86 views.
MANY = (*MADE, *(replace(DARKER, name=f"darker_{letter}") for letter in "abcdefghijklmno"))
STRANGE = [*NASTY, CLOSING, "x" * 200, "\u05d0\u05d1" * 40, *(f"change number {n} of many" for n in range(3))]
LOST = Failure("a" * 200 + ".png", "decode", "damaged")
OPEN = "[...document.querySelectorAll('.fold[open]')].map((fold) => fold.parentElement.id)"
# The paper's figures: where each is, and its width as a fraction of its own size.
FIGURES = """[...document.querySelectorAll("#figures .paper")].map((figure) => {
  const [box, image] = [figure.getBoundingClientRect(), figure.querySelector("img")];
  return [Math.round(box.top), Math.round(box.left), image.clientWidth / image.getAttribute("width")];
})"""
# Links, controls and scrolling parts that are shown; a folded section has none.
STOPS = """[...document.querySelectorAll("a, button, select, summary, [tabindex='0']")]
  .filter((element) => element.checkVisibility({ visibilityProperty: true }))"""
SHOWN = """() => {
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const shown = [];
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    if (!element.closest("script, noscript") && element.checkVisibility()) shown.push(texts.currentNode.textContent);
  }
  return shown.join(" ");
}"""
# Where the marks of the first screen lie on their ruler, and what does not lie within the page.
MARKS = """[...document.querySelectorAll(".changes li")].map((row) => {
  const [scale, dot] = [row.querySelector("svg"), row.querySelector("circle")].map((e) => e.getBoundingClientRect());
  const line = row.querySelector(".interval").getBoundingClientRect();
  const place = (pixels) => (pixels - scale.left) / scale.width;
  return [row.querySelector("bdi").innerText, place(dot.left + dot.width / 2), place(line.left), place(line.right)];
})"""
OUTSIDE = """[...document.querySelectorAll("#answer :is(svg, svg *, p, small, li), td.headline")].filter((element) => {
  const box = element.getBoundingClientRect();
  return box.left < 0 || box.right > document.documentElement.clientWidth;
}).length"""
FIRST_SCREEN = {"include": [["header"], ["#answer"]]}
# Where the first thing to do ends.
FIRST_OF_NOW = "document.querySelector('.now').querySelector('li, p').getBoundingClientRect().bottom"
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
# What the printer sees: folded parts, hidden groups, and the width of the widest chart.
PRINTED = """() => {
  const charts = () => [...document.querySelectorAll(".plot .main-svg")];
  window.widest = () => Math.max(...charts().map((chart) => chart.getAttribute("width")));
  addEventListener("beforeprint", () => {
    const count = (selector) => document.querySelectorAll(selector).length;
    window.printed = [count("details:not([open])"), count(".group[hidden]"), widest()];
  });
}"""


@pytest.fixture(scope="module")
def families(tmp_path_factory):
    """A study with many levels."""
    with pytest.MonkeyPatch.context() as patch:
        for family in MANY:
            patch.setitem(FAMILIES._entries, family.name, family)
        study = make_study(tmp_path_factory.mktemp("families") / "study", 10, graded(*MANY), with_pictures=True)
        study.report(formats=["png"])
    return study


@pytest.mark.parametrize(
    ("name", "width", "scheme"),
    first_only(
        [("study", 1280, "light"), ("study", 380, "dark"), ("families", 1280, "dark"), ("families", 380, "light")]
    ),
)
def test_the_page_fits_and_everyone_can_read_it(request, visit, screenshots, name, width, scheme):
    page = visit(width, scheme, of=request.getfixturevalue(name))
    assert problems(page, width) == []
    assert page.evaluate(OUTSIDE) == 0
    assert width < 1280 or page.evaluate(TOO_WIDE) == []
    assert page.evaluate("[...document.images].filter((image) => !image.alt.trim()).length") == 0
    figures = page.evaluate(FIGURES)
    assert [place for *place, _ in figures] == sorted(place for *place, _ in figures), "read as they are numbered"
    assert all(0.74 < scale < 1.12 for *_, scale in figures)
    ends = page.evaluate(
        "['.charts', '.chart:last-child'].map((each) => document.querySelector(each).getBoundingClientRect().right)"
    )
    assert ends[0] == pytest.approx(ends[1]), "no empty place beside the last chart"
    if name == "families":
        page.screenshot(path=screenshots / f"report-{name}-{width}-{scheme}.png", full_page=True)
        rows = [
            page.locator(f"{part}").count()
            for part in ("#tolerances tbody tr", "#summary-table tbody tr", ".all tbody tr", "#strength img")
        ]
        assert rows == [len(MANY)] * 3 + [2], "one level of each family"
        assert page.locator(".changes li").count() == 8


def test_the_first_screen_answers_and_the_rest_is_folded(visit, study):
    page = visit(folded=True)
    assert page.evaluate(OPEN) == []
    assert page.locator(".fold > summary h2").count() == page.locator("main section").count() - 2
    assert len(page.evaluate(SHOWN).split()) <= 700
    assert page.evaluate("document.documentElement.scrollHeight") <= 6_000
    found = study.search().filter(metric="recall@1").to_dicts()
    rows = {row["augmentation"]: [1 - row[name] for name in ("value", "ci_high", "ci_low")] for row in found}
    shifts = dict(study.summary().filter(metric=COSINE).select("augmentation", "relative_shift").iter_rows())
    order = sorted(rows, key=lambda name: (rows[name][0], shifts[name]), reverse=True)[:8]
    marks, largest = page.evaluate(MARKS), max(high for *_, high in rows.values())
    assert [name for name, *_ in marks] == order, "what is missed most comes first"
    for name, *places in marks:
        assert places == pytest.approx([each / largest for each in rows[name]], abs=0.006)


# Studies at the edges: many changes of strange names, one change, one image, and images that are gone.
ODD = {
    "many": {"images": 10, "augmentations": STRANGE},
    "one change": {"images": 3, "augmentations": ["x" * 200], "failures": [LOST]},
    "one image": {"images": 1, "augmentations": ["noise", "blur"]},
    "gone": {"images": 3, "augmentations": ["noise", "blur"]},
}


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    @functools.cache
    def made(name):
        study = make_study(tmp_path_factory.mktemp("odd") / "study", with_pictures=True, **ODD[name])
        if name == "gone":
            shutil.rmtree(study.folder / "pictures")
        study.report(figures=[])
        return study

    return made


@pytest.fixture(scope="module")
def hundred(tmp_path_factory):
    """A study of a hundred changes, on whose page axe takes a quarter of a minute."""
    names = [*STRANGE, *(f"change number {n} of many" for n in range(3, 91))]
    study = make_study(tmp_path_factory.mktemp("hundred") / "study", 10, names, with_pictures=True)
    study.report(figures=[])
    return study


@pytest.mark.parametrize("name", first_only(ODD))
def test_whatever_is_named_the_first_screen_stays_in_its_frame(name, visit, odd):
    page = visit(1280, of=odd(name), folded=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280
    assert name != "many" or problems(page, 1280, FIRST_SCREEN) == [], "axe reads all of each in the next test"
    assert page.evaluate(OUTSIDE) == 0
    assert page.evaluate("document.querySelector('.head').getBoundingClientRect().bottom") <= 960
    images = page.locator(".changes img").count()
    assert images == {"many": 9, "one image": 3, "one change": 2, "gone": 0}[name]
    assert page.locator(".changes .thumbnails").count() == max(0, images - 1), "no empty place"
    assert name != "one change" or "1 image could not be measured" in page.content()
    page.set_viewport_size({"width": 390, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate(OUTSIDE) == 0
    assert page.evaluate(FIRST_OF_NOW) < 844, "what to do first is on the screen of a telephone"


@pytest.mark.matrix
@pytest.mark.parametrize("width", [1280, 390])
def test_whatever_is_named_all_of_the_page_can_be_read(visit, odd, hundred, width):
    for name, study in {**{name: odd(name) for name in ODD}, "hundred": hundred}.items():
        page = visit(width, of=study, folded=True)
        assert problems(page, width) == [], name
        assert page.evaluate(OUTSIDE) == 0, name


def test_the_first_screen_has_few_words_and_needs_nothing(open_page, study):
    page = open_page((study.folder / "report.html").as_uri(), java_script_enabled=False)
    words = page.evaluate(WORDS)
    assert 20 < len(words) <= 150, words
    assert page.locator("#answer .copy:visible").count() == 0


def test_contents_address_and_search_open_a_section(visit):
    page = visit(folded=True)
    page.locator(".contents a[href='#search']").click()
    assert page.evaluate(OPEN) == ["search"]
    page.locator("#direction summary").first.click()
    assert page.evaluate("location.hash") == "#direction"
    page.reload()
    assert page.evaluate(OPEN) == ["direction"], "the address remembers it"
    page.locator("#direction summary").first.click()
    assert page.evaluate("location.hash") == ""
    page.evaluate("location.hash = '#search-table'")
    page.wait_for_selector("#search-table")
    assert page.evaluate("document.querySelector('#search-table').getBoundingClientRect().top") < 900
    address = page.url.partition("#")[0]
    page.goto("about:blank")
    page.goto(f"{address}#:~:text=The%20set%20of%20all%20originals")
    page.wait_for_selector("#geometry > .fold[open]")
    assert page.evaluate(OPEN) == ["geometry"]


@pytest.mark.matrix
def test_all_is_printed(visit):
    page = visit(folded=True)
    page.evaluate(PRINTED)
    until(page, "'Plotly' in window")
    assert len(page.pdf()) > 100_000
    assert page.evaluate("window.printed") == [0, 0, 640], "a sheet is as wide as 700 pixels"
    assert page.evaluate("widest()") > 1000, "on the screen the chart is as wide as before"
    assert page.evaluate(OPEN) == []


def test_the_keyboard_reaches_and_does_everything(visit):
    page = visit(folded=True)
    count, reached = page.evaluate(f"{STOPS}.length"), []
    for _ in range(count):
        page.keyboard.press("Tab")
        reached.append(page.evaluate(f"{STOPS}.indexOf(document.activeElement)"))
    assert reached == [*range(count)]
    page.locator(".skip").focus()
    assert page.evaluate("document.activeElement.getBoundingClientRect().top") >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "answer"
    page.locator("#summary summary").first.focus()
    page.keyboard.press("Enter")
    assert page.evaluate(OPEN) == ["summary"]
    heading = page.locator("#summary-table thead th:nth-child(3)")
    heading.locator("button").focus()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    for key, order in (("Enter", "ascending"), ("Space", "descending")):
        page.keyboard.press(key)
        assert heading.get_attribute("aria-sort") == order
    page.locator("#theme").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_tables_are_sorted_galleries_filtered_and_the_theme_changed(visit, study):
    page = visit()

    def names():
        cells = page.locator("#summary-table tbody tr > *:nth-child(1)").all_inner_texts()
        return [text.partition("\n")[0] for text in cells]

    shifts = study.summary().filter(metric=COSINE).sort("relative_shift", descending=True)
    assert names() == shifts["augmentation"].to_list(), "the furthest moved first"
    means = {row["augmentation"]: row["mean"] for row in study.summary().to_dicts() if row["metric"] == "l2_distance"}
    for order in ("ascending", "descending"):
        page.locator("#summary-table thead th:nth-child(4) button").click()
        assert names() == sorted(means, key=means.get, reverse=order == "descending")
        assert page.locator("#summary-table thead th:nth-child(4)").get_attribute("aria-sort") == order
    page.locator("#summary-table thead th:nth-child(1) button").click()
    assert names() == sorted(means)
    assert page.locator("[aria-sort]").count() == 1

    worst = study.ranking().sort("rank")["augmentation"].to_list()[-1]
    for chosen, cards in ((worst, 9), ("elastic", 9), ("all", 81)):
        page.select_option("#filter", value=chosen)
        assert page.locator("#shown").inner_text() == f"{cards} of 81 shown"
        assert page.locator(".group:visible h3").count() == cards // 9
        until(page, "[...document.querySelectorAll('.group:not([hidden]) img')].every((i) => i.naturalWidth > 0)")
        if chosen == "elastic":
            lowest = study.rows().collect().filter(view=chosen).sort("cosine_similarity")["image_id"][0]
            assert page.locator(".group:visible .card h5").first.inner_text() == lowest
            assert page.locator(".group:visible .quad figure").count() == 36

    colours = """[getComputedStyle(document.body).backgroundColor,
      getComputedStyle(document.querySelector('#cosine .ytick text')).fill]"""
    first = page.evaluate(colours)
    page.locator("#theme").click()
    assert all(one != other for one, other in zip(first, page.evaluate(colours), strict=True))
    page.locator("#theme").click()
    assert page.evaluate(colours) == first


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
def test_without_scripts_the_first_screen_and_tables_are_there(open_page, study):
    page = open_page((study.folder / "report.html").as_uri(), java_script_enabled=False)
    assert page.locator("#summary-table tbody tr").count() == 9
    assert page.locator("#answer .changes").is_visible()
    assert "need JavaScript; the tables do not" in page.locator("noscript").inner_text()
