"""The report of pairs in a browser: it is silent, and its gallery shows the variants."""

import pytest

import embedshift
from support.mean_colour import MeanColour
from support.pairs import QUALITIES, tiles, write_pairs

pytestmark = [pytest.mark.slow, pytest.mark.matrix]


@pytest.fixture
def study(tmp_path):
    """Nine images, one without one of its variants, and one variant that is gone when the page is made."""
    folder = write_pairs(tmp_path / "pairs", tiles(9))
    (folder / "q10" / "04.jpg").unlink()
    variants = [folder / name for name in QUALITIES]
    settings = {"model": MeanColour(), "workers": 0, "allow_missing": True}
    made = embedshift.run(folder / "originals", pairs=variants, out=tmp_path / "study", **settings)
    (folder / "q50" / "05.jpg").unlink()
    made.report(figures=["views"], formats=["svg"])
    return made


def test_the_gallery_shows_variants_and_says_what_is_gone(visit, study):
    page = visit()
    assert page.locator("#claims").count() == 0
    assert set(page.locator("#filter option").all_text_contents()) == {*QUALITIES, "all augmentations"}
    page.select_option("#filter", label="q10")
    cards = page.locator(".group:visible .card")
    assert cards.count() == 8 // 3 * 3
    assert "04.png" not in page.locator(".group:visible h5").all_inner_texts()
    assert page.locator(".group:visible .quad figure").count() == 4 * cards.count()
    for _ in range(100):
        if page.evaluate("[...document.querySelectorAll('.group:not([hidden]) img')].every((i) => i.naturalWidth)"):
            break
        page.wait_for_timeout(50)
    else:
        pytest.fail("an image is not shown")
    page.select_option("#filter", label="q50")
    gone = page.locator(".group:visible .gone")
    assert gone.all_inner_texts() == ["No view: it is no longer in its source"]
    card = page.locator(".group:visible .card", has=page.locator(".gone"))
    assert card.locator("h5").inner_text() == "05.png"
    assert card.locator("figure").count() == 2, "the original and its attention"
    facts = page.locator("#measured").inner_text()
    assert "8 images from q10; 1 missing" in facts
