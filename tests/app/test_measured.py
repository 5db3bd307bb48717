"""One image: the numbers of the page against those of a run, and against loops."""

import dataclasses
import io
import itertools

import numpy as np
import pytest
from PIL import Image

import embedshift
from embedshift.app.changes import all_changes
from embedshift.app.measured import measure_view, open_original
from embedshift.app.start import encoder_from_study, scale_in_words, try_encoder_from_study
from embedshift.augmentations import rebuild_suite
from embedshift.errors import EmbedshiftError, UsageError
from support.mean_colour import MeanColour
from support.models import pictures

CHANGES = all_changes()
JPEG = CHANGES["strength: jpeg"]


def png(array):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


OWN = png(np.random.default_rng(7).integers(0, 256, (50, 70, 3), np.uint8))


def cosine(u, v):
    return float(np.dot(u, v) / np.sqrt(np.dot(u, u) * np.dot(v, v)))


def by_hand(path):
    image = np.asarray(Image.open(path).convert("RGB"))
    view = embedshift.make_views(image, image_id="x", size=32)["original"]
    return MeanColour()(view[None]).embedding[0].astype(float)


def test_the_relative_shift_by_hand(of_photos, photos):
    vectors = [by_hand(path) for path in sorted(photos.iterdir())]
    baseline = np.mean([cosine(u, v) for u, v in itertools.combinations(vectors, 2)])
    original = open_original(OWN, "own.png", of_photos)
    found = measure_view(original, JPEG, 5, of_photos)
    before, after = (MeanColour()(view[None]).embedding[0].astype(float) for view in (original.view, found.view))
    assert not np.array_equal(original.view, found.view)
    assert found.cosine == pytest.approx(cosine(before, after), abs=1e-12)
    assert found.relative_shift == pytest.approx((1 - cosine(before, after)) / (1 - baseline), abs=1e-9)
    assert found.change == "jpeg quality 5.0"
    assert f"{baseline:.3f}" in scale_in_words(of_photos.scale)
    assert found.search is None


def test_an_unchanged_image_has_relative_shift_0(of_study):
    found = measure_view(open_original(OWN, "own.png", of_study), JPEG, 100, of_study)
    assert (found.relative_shift, found.cosine, found.change) == (0.0, pytest.approx(1.0), "jpeg unchanged")
    assert found.search.rank == 1


def test_the_page_of_a_study_of_files_changes_the_file(encoder, tmp_path):
    photos = pictures(tmp_path / "photos", 2)
    on_files = {"apply_to": "file", "longest": 48, "resize": "crop"}
    study = embedshift.run(photos, out=tmp_path / "study", model=encoder, workers=0, **on_files)
    page = encoder_from_study(study.reader())
    changes = all_changes(rebuild_suite(study.info()["identity"]["augmentations"]))
    original = open_original((photos / "picture-00.png").read_bytes(), "picture-00.png", page)
    for row in study.rows().collect().filter(image_id="picture-00.png").to_dicts()[1:]:
        found = measure_view(original, changes[f"study: {row['view']}"], 0.0, page)
        assert found.cosine == pytest.approx(row["cosine_similarity"], abs=1e-6)
        np.testing.assert_array_equal(MeanColour()(found.view[None]).embedding[0], row["embedding"])
    assert measure_view(original, JPEG, 100, page).cosine == pytest.approx(1)


def test_an_image_of_the_study_has_the_numbers_of_its_rows(reader, of_study, photos):
    rows = reader.rows().collect()
    means = reader.table("summary").filter(metric="cosine_similarity")
    changes = all_changes(rebuild_suite(reader.info.identity["augmentations"]))
    ranks = {(row["image_id"], row["view"]): row["rank"] for row in reader.table("search_ranks").to_dicts()}
    for name in ("picture-00.png", "picture-07.png"):
        original = open_original((photos / name).read_bytes(), name, of_study)
        for row in rows.filter(image_id=name).to_dicts():
            if row["view"] == "original":
                continue
            found = measure_view(original, changes[f"study: {row['view']}"], 0.0, of_study)
            assert found.cosine == pytest.approx(row["cosine_similarity"], abs=1e-6)
            assert found.search.rank == ranks[name, row["view"]]
            assert found.search.same_image == name
            assert found.search.images == 12
            baseline = means["baseline"][0]
            assert found.relative_shift == pytest.approx((1 - row["cosine_similarity"]) / (1 - baseline), abs=1e-5)


def test_the_view_alone_is_encoded(of_study):
    seen = []

    class Counting(MeanColour):
        def __call__(self, views):
            seen.append(views.shape)
            return super().__call__(views)

    page_encoder = dataclasses.replace(of_study, encoder=Counting())
    original = open_original(OWN, "own.png", page_encoder)
    for parameter in (80, 50, 25):
        measure_view(original, JPEG, parameter, page_encoder)
    assert seen == [(1, 32, 32, 3)] * 4


@pytest.mark.parametrize(
    ("data", "words"),
    [(b"", "empty"), (b"not an image", "not an image"), (OWN[:-60], "damaged or ends early"),
     (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image")],
)  # fmt: skip
def test_a_file_that_is_no_image_is_a_line(of_study, data, words):
    with pytest.raises(EmbedshiftError, match=words):
        open_original(data, "a.png", of_study)


@pytest.mark.slow
def test_forty_megapixels_are_read_and_more_than_the_limit_are_refused(of_study):
    large = png(np.broadcast_to(np.uint8([10, 200, 30]), (5_000, 8_000, 3)))
    found = open_original(large, "large.png", of_study)
    assert found.size == (8_000, 5_000)
    assert (found.view == [10, 200, 30]).all()
    assert sum(getattr(each, "nbytes", 0) for each in vars(found).values()) < 10_000  # the large image is not kept
    with pytest.raises(EmbedshiftError, match="100 megapixels"):
        open_original(png(np.zeros((10_001, 10_000), np.uint8)), "larger.png", of_study)


def test_an_encoder_that_gives_no_number_is_a_line(of_study):
    class Nonsense(MeanColour):
        def __call__(self, views):
            return super().__call__(views).without([0])

    with pytest.raises(EmbedshiftError, match="no number"):
        open_original(OWN, "own.png", dataclasses.replace(of_study, encoder=Nonsense()))


def test_an_encoder_without_attention(of_study):
    class Blind(MeanColour):
        def __call__(self, views):
            return dataclasses.replace(super().__call__(views), attention=None)

    page_encoder = dataclasses.replace(of_study, encoder=Blind())
    original = open_original(OWN, "own.png", page_encoder)
    assert original.attention is None
    assert measure_view(original, JPEG, 25, page_encoder).attention is None


def test_another_encoder_than_the_studys_is_refused(reader, monkeypatch, encoder):
    monkeypatch.setattr(MeanColour, "weights_hash", "others")
    with pytest.raises(UsageError, match="not the encoder"):
        encoder_from_study(reader)
    assert "not the encoder" in try_encoder_from_study(reader, None, "auto")
    with pytest.raises(UsageError):
        try_encoder_from_study(reader, encoder, "auto")


def test_an_encoder_that_is_not_here_leaves_the_points(reader):
    info = reader.info.model_copy(update={"config": {**reader.info.config, "model": "no-such-encoder"}})
    other = dataclasses.replace(reader)
    other.__dict__["info"] = info
    assert "no-such-encoder" in try_encoder_from_study(other, None, "auto")
