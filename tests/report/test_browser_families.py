"""The report of a study with many levels in a browser: it fits, and shows one level of each family."""

from dataclasses import replace

import pytest

from embedshift.augmentations.family import FAMILIES
from support.graded import DARKER, MADE, graded
from support.report_fixtures import TOO_WIDE
from support.synthetic import make_study

pytestmark = [pytest.mark.slow, pytest.mark.matrix]

FAMILIES_MADE = (*MADE, *(replace(DARKER, name=f"darker_{letter}") for letter in "abcdefghijklmno"))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """18 families, 86 views."""
    with pytest.MonkeyPatch.context() as patch:
        for family in FAMILIES_MADE:
            patch.setitem(FAMILIES._entries, family.name, family)
        study = make_study(
            tmp_path_factory.mktemp("families") / "study", 10, graded(*FAMILIES_MADE), with_pictures=True
        )
        study.report(formats=["png"])
    return study


@pytest.mark.parametrize("width", [1280, 380])
def test_it_fits_and_its_figures_are_there(browser, made, width):
    seen = []
    context = browser.new_context(viewport={"width": width, "height": 900})
    page = context.new_page()
    page.on("console", lambda message: seen.append(message.text))
    page.on("pageerror", lambda error: seen.append(str(error)))
    page.goto((made.folder / "report.html").as_uri())
    page.evaluate("document.querySelectorAll('.fold').forEach((fold) => { fold.open = true; })")
    page.wait_for_selector("#cosine .main-svg")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert width < 1280 or page.evaluate(TOO_WIDE) == []
    assert page.locator("#tolerances tbody tr").count() == len(FAMILIES_MADE)
    assert page.locator("#summary-table tbody tr").count() == len(FAMILIES_MADE)
    assert page.locator("#summary-more tbody tr").count() == len(FAMILIES_MADE)
    assert page.locator("#filter option").count() == len(FAMILIES_MADE) + 1
    assert page.locator("#strength img").count() == 2
    assert page.locator("#answer .changes li").count() == len(FAMILIES_MADE)
    page.locator("#answer a[href='#tolerances']").click()
    assert page.evaluate("location.hash") == "#tolerances"
    context.close()
    assert seen == []
