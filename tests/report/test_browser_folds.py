"""The report as a reader opens it: the answers first, the rest folded, found, printed, and usable by everyone."""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe

from embedshift.statistics.summary import COSINE
from support import studies
from support.matrix import first_only

pytestmark = pytest.mark.slow

SIZES = [(width, scheme) for width in (390, 1280, 768, 1920) for scheme in ("light", "dark")]
OPEN = "[...document.querySelectorAll('.fold[open]')].map((fold) => fold.parentElement.id)"
ANSWERS = "document.querySelector('#answer').innerText"
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
# Where the marks of the first screen lie on their scale, and what does not lie within the page.
MARKS = """[...document.querySelectorAll(".changes li")].map((row) => {
  const [scale, dot] = [row.querySelector("svg"), row.querySelector("circle")].map((e) => e.getBoundingClientRect());
  return [row.querySelector("bdi").innerText, (dot.left + dot.width / 2 - scale.left) / scale.width];
})"""
# The width of the widest chart.
WIDEST = (
    """Math.max(...[...document.querySelectorAll(".plot .main-svg")].map((chart) => chart.getAttribute("width")))"""
)
OUTSIDE = """[...document.querySelectorAll("#answer :is(svg, svg *, p, small, li)")].filter((element) => {
  const box = element.getBoundingClientRect();
  return box.left < 0 || box.right > document.documentElement.clientWidth;
}).length"""


def test_the_answers_are_open_and_the_rest_is_folded_by_question(visit):
    page = visit(folded=True)
    assert page.evaluate(OPEN) == []
    assert page.locator(".fold > summary h2").count() == page.locator("main section").count() - 1
    assert len(page.evaluate(SHOWN).split()) <= 1_500


def test_the_address_and_the_contents_open_a_section(visit):
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


def test_the_search_of_the_browser_finds_what_is_folded(visit):
    page = visit(folded=True)
    address = page.url
    page.goto("about:blank")
    page.goto(f"{address}#:~:text=The%20set%20of%20all%20originals")
    page.wait_for_selector("#geometry > .fold[open]")
    assert page.evaluate(OPEN) == ["geometry"]


@pytest.mark.matrix
def test_all_is_printed(visit):
    page = visit(1280, folded=True)
    page.wait_for_selector("body > *")
    page.evaluate(f"window.widest = () => {WIDEST}")
    page.evaluate("""addEventListener("beforeprint", () => {
      window.closed = document.querySelectorAll("details:not([open])").length;
      window.groups = document.querySelectorAll(".group[hidden]").length;
      window.charts = document.querySelectorAll(".plot .main-svg").length > 0;
      window.printed = widest();
    })""")
    while not page.evaluate("'Plotly' in window"):
        page.wait_for_timeout(50)
    assert len(page.pdf()) > 100_000
    assert page.evaluate("[window.closed, window.groups, window.charts]") == [0, 0, True]
    assert page.evaluate("window.printed") == 640, "a sheet is as wide as 700 pixels"
    assert page.evaluate("widest()") > 1000, "on the screen the chart is as wide as before"
    assert page.evaluate(OPEN) == []


@pytest.mark.parametrize(("width", "scheme"), first_only(SIZES))
def test_every_mark_of_the_first_screen_is_whole_and_in_its_place(visit, study, screenshots, width, scheme):
    page = visit(width, scheme, folded=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("document.documentElement.scrollHeight") <= 12_000
    assert page.evaluate(OUTSIDE) == 0
    rows = study.summary().filter(metric=COSINE).sort("mean").to_dicts()
    longest = 1.02 * max(1.0, *(row["relative_shift_high"] for row in rows))
    places = {row["augmentation"]: max(0.0, row["relative_shift"]) / longest for row in rows}
    marks = page.evaluate(MARKS)
    assert [name for name, _ in marks] == [*places], "the furthest moved first"
    assert [place for _, place in marks] == pytest.approx([*places.values()], abs=0.003)
    assert page.evaluate(f"{ANSWERS}.includes('What was changed, and how far the embedding moves')")
    page.screenshot(path=screenshots / f"first-{width}-{scheme}.png", full_page=True)


@pytest.mark.matrix
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_names_and_contrast_by_axe(visit, scheme):
    page = visit(390, scheme)
    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    assert [(one["id"], [node["target"] for node in one["nodes"]][:3]) for one in found] == []
    assert page.evaluate("[...document.images].filter((image) => !image.alt.trim()).length") == 0


def test_the_keyboard_reaches_everything(visit):
    page = visit(folded=True)
    count = page.evaluate(f"{STOPS}.length")
    reached = []
    for _ in range(count):
        page.keyboard.press("Tab")
        reached.append(page.evaluate(f"{STOPS}.indexOf(document.activeElement)"))
    assert reached == [*range(count)]
    page.locator("#measured summary").first.focus()
    page.keyboard.press("Enter")
    assert page.evaluate(OPEN) == ["measured"]


def test_the_papers_figures_and_claims_come_last_unless_they_are_asked_for(study, html, tmp_path):
    asked = studies.copied(study, tmp_path / "study").report(figures=[], paper=True).read_text()
    last, earlier = (re.findall(r'<section id="(\w+)"', text) for text in (html, asked))
    assert last[-2:] == ["figures", "claims"]
    assert earlier[-2:] == ["measured", "glossary"]
    assert sorted(last) == sorted(earlier)
    folds = re.findall(r'<section id="(\w+)".*\n.*<details class="fold"( open)?>', asked)
    assert [name for name, is_open in folds if is_open] == ["figures"]
