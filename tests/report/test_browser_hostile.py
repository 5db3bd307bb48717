"""A report in which all that a person or a model names is markup: it is shown as it is, and nothing of it runs."""

import pytest
from PIL import Image

import embedshift
from support.matrix import first_only
from support.models import pictures, vision_and_letters

pytestmark = pytest.mark.slow

MARKUP = "<img src=x onerror=alert({0})><script>alert({0})</script>{{{{7*7}}}}'\"</script></style>"
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
    "__proto__",
    MARKUP.format(7),
    "constructor",
    "@import 'http://192.0.2.1/a.css'",
    "http://192.0.2.1/a.png",
    "a" * 3_000,
    "\u202egnp.exe\u2066",
    "a\u2028b\u2029c\u0085d",
    "&#60;script&#62;alert(7)&#60;/script&#62;",
    "\x1b]0;title\x07\x1b[2J",
    "z̷̢̛͍̎" * 60,
]
# Slashes cannot stand in a file's name.
NAMES = [f"{place}<img src=x onerror=alert({place})>{{{{7*7}}}}'\"<`script>.png" for place in range(16)]
NAMES += ["=cmd()|calc.png", "javascript:alert(9).png", "&lt;b&gt;.png", "${7*7}.png"]


@pytest.fixture(scope="module", params=first_only([["heatmap", "views", "words"], None]))
def study(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    made = pictures(folder / "photos", len(NAMES))
    for path, name, words in zip(sorted(made.iterdir()), NAMES, STRANGE, strict=True):
        path.rename(made / name)
        (made / name).with_suffix(".txt").write_text(words)
    (made / f"broken{NAMES[0]}").write_bytes(b"no image")
    Image.new("RGB", (8, 8)).save(made / "small.png")
    encoder = vision_and_letters()
    encoder.name, encoder.embedding_name, encoder.embedding_definition, encoder.revision = map(
        MARKUP.format, range(10, 14)
    )
    views = {words: (lambda image, rng, by=number + 2: image // by) for number, words in enumerate(STRANGE[:12])}
    settings = {"labels": STRANGE, "words": dict(zip(views, reversed(STRANGE), strict=False)), "workers": 0}
    found = embedshift.run(made, out=folder / "study", model=encoder, augmentations=views, **settings)
    found.report(figures=request.param, formats=["svg"])
    return found


def test_markup_is_text(visit, study):
    page = visit(of=study)  # which sees that there is no dialog, no error and no request
    assert set(page.locator("#filter option").all_text_contents()) == {*STRANGE[:12], "all augmentations"}
    page.select_option("#filter", value="all")
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    for chart in page.locator(".js-plotly-plot").all()[:12]:  # writes its labels again where the pointer is
        chart.scroll_into_view_if_needed()
        box = chart.bounding_box()
        for place in (0.3, 0.5, 0.7):
            page.mouse.move(box["x"] + place * box["width"], box["y"] + 0.5 * box["height"])
            page.wait_for_timeout(40)
    shown = set(page.locator(".card h5").all_text_contents())
    assert shown <= {*NAMES, "small.png"}
    assert len(shown) > 4
    text = page.locator("body").inner_text()
    for words in (MARKUP.format(10), "<img src=x onerror=alert(12)>", STRANGE[4], STRANGE[5], "{{7*7}}"):
        assert words in text
    assert "49" not in page.title()
    assert page.locator("iframe, main script, svg[onload], [onerror], img[src='x'], .hoverlayer a").count() == 0
    addresses = "[...document.querySelectorAll('a')].map((e) => e.getAttribute('href') ?? e.getAttribute('xlink:href'))"
    assert not [link for link in page.evaluate(addresses) if link and ("javascript" in link or "192.0.2.1" in link)]
    assert page.evaluate("getComputedStyle(document.body).display") != "none"
    assert page.evaluate("({}).polluted === undefined && Object.keys(Object.prototype).length === 0")


def test_names_never_become_paths(study):
    inside = [path.resolve() for path in study.folder.rglob("*")]
    assert all(path.is_relative_to(study.folder.resolve()) for path in inside)
    assert not any("<" in path.name or "{" in path.name for path in inside)
