"""A report in which all that a person or a model names is markup: it is shown as it is, and nothing of it runs."""

import pytest
from PIL import Image

import embedshift
from support.matrix import first_only
from support.models import pictures, vision_and_letters

pytestmark = pytest.mark.slow

MARKUP = "<img src=x onerror=alert({0})><script>alert({0})</script>{{{{7*7}}}}'\"</script></style>"
# Slashes cannot stand in a file's name.
NAMES = [f"{place}<img src=x onerror=alert({place})>{{{{7*7}}}}'\"<`script>.png" for place in range(4)]
NAMES += ["=cmd()|calc.png", "javascript:alert(9).png", "&lt;b&gt;.png", "${7*7}.png"]


def hostile(place: int) -> str:
    return MARKUP.format(place)


@pytest.fixture(scope="module", params=first_only([["heatmap", "views", "words"], None]))
def study(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    made = pictures(folder / "photos", len(NAMES))
    for path, name in zip(sorted(made.iterdir()), NAMES, strict=True):
        path.rename(made / name)
        (made / name).with_suffix(".txt").write_text(hostile(20))
    (made / f"broken{NAMES[0]}").write_bytes(b"no image")
    Image.new("RGB", (8, 8)).save(made / "small.png")
    encoder = vision_and_letters()
    encoder.name = hostile(10)
    encoder.embedding_name, encoder.embedding_definition = hostile(11), hostile(12)
    encoder.revision = hostile(13)
    found = embedshift.run(
        made,
        out=folder / "study",
        model=encoder,
        augmentations={hostile(1): lambda image, rng: image // 2, hostile(2): lambda image, rng: image[:, ::-1]},
        labels=[hostile(3), hostile(4)],
        words={hostile(1): hostile(5), hostile(2): hostile(6)},
        workers=0,
    )
    found.report(figures=request.param, formats=["svg"])
    return found


@pytest.mark.matrix
def test_markup_is_text(visit, study):
    page = visit()  # which sees that there is no dialog, no error and no request
    page.select_option("#filter", value="all")
    shown = set(page.locator(".card h5").all_text_contents())
    assert shown <= {*NAMES, "small.png"}
    assert len(shown) > 4
    assert set(page.locator("#filter option").all_text_contents()) == {hostile(1), hostile(2), "all augmentations"}
    text = page.locator("body").inner_text()
    assert hostile(10) in text
    for place in (12, 5):  # of what looks like a path within a text, a page shows the end
        assert f"<img src=x onerror=alert({place})>" in text
    assert "{{7*7}}" in text
    assert "49" not in page.title()
    assert page.locator("img[onerror], img[src='x'], main script").count() == 0
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    page.wait_for_timeout(200)


def test_names_never_become_paths(study):
    inside = {path.resolve() for path in study.folder.rglob("*")}
    assert all(path.is_relative_to(study.folder.resolve()) for path in inside)
    assert not any("<" in path.name or "{" in path.name for path in inside)
