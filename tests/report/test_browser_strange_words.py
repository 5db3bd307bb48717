"""Captions, labels, augmentations and names that other languages of a page take for their own: always text."""

import pytest

import embedshift
from support.models import pictures, vision_and_letters

pytestmark = [pytest.mark.slow, pytest.mark.matrix]

# What charts, figures, templates, styles, links, right-to-left text, JavaScript and JSON would read in another way.
STRANGE = [
    "<a href='javascript:alert(1)'>link</a>",
    "<svg/onload=alert(2)>",
    "<iframe srcdoc='<script>alert(3)</script>'></iframe>",
    "<!-- ]]> --></textarea></title></noscript>",
    "%{x} %{customdata[0]} %{meta}",
    "$\\frac{$ $\\undefined$ $x^2$",
    "\\(\\href{javascript:alert(4)}{x}\\)",
    "{{ config }}{% raw %}${alert(5)}#{alert(6)}",
    "url(http://192.0.2.1/a.png);background:red}*{display:none}",
    "@import 'http://192.0.2.1/a.css'",
    "http://192.0.2.1/a.png",
    "__proto__",
    "constructor",
    "\u202egnp.exe\u2066",
    "a\u2028b\u2029c\u0085d",
    "&#60;script&#62;alert(7)&#60;/script&#62;",
    "\x1b]0;title\x07\x1b[2J",
    "a" * 3_000,
    "z̷̢̛͍̎" * 60,
    "'; DROP TABLE rows; --",
]


@pytest.fixture(scope="module", params=[["heatmap", "views", "words"], None])
def study(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("strange")
    photos = pictures(folder / "photos", len(STRANGE))
    for path, words in zip(sorted(photos.iterdir()), STRANGE, strict=True):
        path.with_suffix(".txt").write_text(words)
    views = {words: (lambda image, rng, by=number + 2: image // by) for number, words in enumerate(STRANGE[:12])}
    study = embedshift.run(
        photos,
        out=folder / "study",
        model=vision_and_letters(),
        augmentations=views,
        labels=[words for words in STRANGE if words.strip()],
        words=dict(zip(views, reversed(STRANGE), strict=False)),
        workers=0,
    )
    study.report(figures=request.param)
    return study


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_strange_words_are_text(visit, study, scheme):
    page = visit(scheme=scheme)  # which sees that there is no dialog, no error and no request
    assert set(page.locator("#filter option").all_text_contents()) == {*STRANGE[:12], "all augmentations"}
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    page.select_option("#filter", value="all")
    page.wait_for_timeout(500)
    links = page.evaluate("[...document.querySelectorAll('a')].map((each) => each.getAttribute('href') || '')")
    links += page.evaluate("[...document.querySelectorAll('svg a')].map((e) => e.getAttribute('xlink:href') || '')")
    assert not [link for link in links if "javascript" in link or "192.0.2.1" in link]
    assert page.locator("iframe, main script, svg[onload], [onerror]").count() == 0
    text = page.locator("body").inner_text()
    assert "%{x} %{customdata[0]} %{meta}" in text
    assert "$\\frac{$ $\\undefined$ $x^2$" in text
    assert page.evaluate("getComputedStyle(document.body).display") != "none"
    assert page.evaluate("({}).polluted === undefined && Object.keys(Object.prototype).length === 0")


def test_every_chart_is_hovered(visit, study):
    """A chart writes its labels again where the pointer is."""
    page = visit()
    for chart in page.locator(".js-plotly-plot").all()[:12]:
        chart.scroll_into_view_if_needed()
        box = chart.bounding_box()
        for place in (0.3, 0.5, 0.7):
            page.mouse.move(box["x"] + place * box["width"], box["y"] + 0.5 * box["height"])
            page.wait_for_timeout(40)
    assert page.locator(".hoverlayer a").count() == 0
