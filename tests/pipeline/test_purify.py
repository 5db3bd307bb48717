"""Purifiers in a study of pairs: which views there are, that rows are of them, and what is refused."""

import numpy as np
import pytest
from PIL import Image

import embedshift
from embedshift.augmentations.variant import purifier
from embedshift.errors import UsageError
from embedshift.store.redraw import redraw
from support.mean_colour import MeanColour
from support.pairs import run_pairs, tiles, write_pairs

PURIFY = ["median:3", "bits:2"]
VIEWS = ["q50", "q10", "original+median:3", "original+bits:2"]
VIEWS += ["q50+median:3", "q50+bits:2", "q10+median:3", "q10+bits:2"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return write_pairs(tmp_path_factory.mktemp("pairs"), tiles(6))


@pytest.fixture(scope="module")
def study(made, tmp_path_factory):
    return run_pairs(made, tmp_path_factory.mktemp("study") / "study", purify=PURIFY)


def picture(made, view, stem):
    """The view as a reader of the docs would make it."""
    of, _, name = view.partition("+")
    file = made / "originals" / f"{stem}.png" if of == "original" else made / of / f"{stem}.jpg"
    decoded = np.asarray(Image.open(file).convert("RGB"))
    return purifier(name)(decoded) if name else decoded


@pytest.mark.slow
def test_rows_are_of_the_purified_originals_and_variants(made, study):
    rows = study.rows().collect()
    assert rows["view"].unique(maintain_order=True).to_list() == ["original", *VIEWS]
    assert len(rows) == 6 * 9
    for row in rows.iter_rows(named=True):
        expected = MeanColour()(picture(made, row["view"], row["image_id"].removesuffix(".png"))[None]).embedding[0]
        np.testing.assert_array_equal(row["embedding"], expected)


def test_pictures_are_made_again_for_the_report(made, study):
    name = study.reader().sample_ids(1)[0]
    (image,), missing = redraw(study.reader(), [name])
    assert missing == image.missing == {}
    assert set(image.views) == {"original", *VIEWS}
    for view, pixels in image.views.items():
        np.testing.assert_array_equal(pixels, picture(made, view, name.removesuffix(".png")), err_msg=view)
    (made / "q10" / f"{name.removesuffix('.png')}.jpg").rename(made / "gone.jpg")
    try:
        (image,), _ = redraw(study.reader(), [name])
        assert set(image.missing) == {"q10", "q10+median:3", "q10+bits:2"}
    finally:
        (made / "gone.jpg").rename(made / "q10" / f"{name.removesuffix('.png')}.jpg")


@pytest.mark.slow
def test_a_missing_variant_is_missing_after_its_purifiers_too(made, tmp_path):
    pairs = write_pairs(tmp_path / "pairs", tiles(4))
    (pairs / "q10" / "01.jpg").unlink()
    rows = run_pairs(pairs, tmp_path / "study", purify=["bits:2"], allow_missing=True).rows().collect()
    without = rows.filter(rows["embedding"].is_null()).select("image_id", "view").rows()
    assert without == [("01.png", "q10"), ("01.png", "q10+bits:2")]


def test_other_purifiers_are_another_study(made, study):
    with pytest.raises(UsageError, match=r"contains another study: augmentations.*median:3"):
        run_pairs(made, study.folder, purify=["bits:2"])


REFUSED = {
    "purifier 'jpeg:0': jpeg needs": {"purify": ["jpeg:0"]},
    "purifier 'bits:2' is given twice": {"purify": ["bits:2", "bits:2"]},
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_cannot_be_is_refused_before_any_work(words, made, tmp_path):
    with pytest.raises(UsageError) as error:
        run_pairs(made, tmp_path / "study", **REFUSED[words])
    assert words in str(error.value)
    assert not (tmp_path / "study").exists()


def test_purify_is_for_pairs(made, tmp_path):
    with pytest.raises(UsageError, match="`purify` needs `pairs`"):
        embedshift.run(made / "originals", out=tmp_path / "study", model=MeanColour(), purify=["bits:2"])
