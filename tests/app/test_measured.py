"""One image: the numbers of the page against those of a run, and against loops."""

import dataclasses
import io
import itertools

import numpy as np
import pytest
from PIL import Image

import embedshift
from embedshift.app.measured import all_changes, encoder_from_study, load_encoders, measure_view
from embedshift.app.measured import open_original as open_originals
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


def open_original(data, name, page_encoder):
    (original,) = open_originals(data, name, [page_encoder])
    return original


def measured(original, change, level, page_encoder, target="input", **more):
    """The view, what was done in words, and the row of the embeddings as they are."""
    (_, (words, view, _)), rows = measure_view(original, change, level, page_encoder, target, **more)
    return view, words, rows[0]


OWN = png(np.random.default_rng(7).integers(0, 256, (50, 70, 3), np.uint8))


def cosine(u, v):
    return float(np.dot(u, v) / np.sqrt(np.dot(u, u) * np.dot(v, v)))


def by_hand(path, resize="squash"):
    return MeanColour()(by_size(path.read_bytes(), resize)[None]).embedding[0].astype(float)


def by_size(data, resize="squash"):
    image = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    return embedshift.make_views(image, image_id="x", size=32, resize=resize)["original"]


@pytest.mark.parametrize("target", ["file", "input"])
def test_the_relative_shift_by_hand(of_photos, photos, target):
    vectors = [by_hand(path, "crop") for path in sorted(photos.iterdir())]
    baseline = np.mean([cosine(u, v) for u, v in itertools.combinations(vectors, 2)])
    original = open_original(OWN, "own.png", of_photos)
    view, words, row = measured(original, JPEG, 5, of_photos, target)
    image = np.asarray(Image.open(io.BytesIO(OWN)))
    drawn = embedshift.make_views(
        image, image_id="own.png", size=32, augmentations="strength", families=["jpeg"], apply_to=target, resize="crop"
    )
    assert np.array_equal(view, drawn["jpeg@5"])
    before, after = (MeanColour()(one[None]).embedding[0].astype(float) for one in (drawn["original"], view))
    assert row["cosine"] == pytest.approx(cosine(before, after), abs=1e-12)
    assert row["relative shift"] == pytest.approx((1 - cosine(before, after)) / (1 - baseline), abs=1e-9)
    assert row["other images"] == pytest.approx(baseline)
    assert row["search finds it"] == "no study"
    assert words == "Writes the image as JPEG and reads it again (quality: 5)"


@pytest.mark.slow
def test_an_unchanged_image_has_relative_shift_0(of_study):
    _, words, row = measured(open_original(OWN, "own.png", of_study), JPEG, 0, of_study)
    assert (row["relative shift"], row["cosine"], words) == (0.0, pytest.approx(1.0), "unchanged")
    assert row["search finds it"] == "1 of 13"


@pytest.mark.slow
def test_the_page_of_a_study_of_files_changes_the_file(encoder, tmp_path):
    """By the everyday changes, which are those of the page too."""
    photos = pictures(tmp_path / "photos", 2)
    on_files = {"augmentations": "everyday", "longest": 48, "resize": "crop"}
    study = embedshift.run(photos, out=tmp_path / "study", model=encoder, workers=0, **on_files)
    page = encoder_from_study(study.reader())
    original = open_original((photos / "picture-00.png").read_bytes(), "picture-00.png", page)
    rows = study.rows().collect().filter(image_id="picture-00.png").to_dicts()[1:]
    assert len(rows) > 5
    for row in rows:
        view, _, numbers = measured(original, CHANGES[f"everyday: {row['view']}"], 0.0, page, "file")
        assert numbers["cosine"] == pytest.approx(row["cosine_similarity"], abs=1e-6)
        np.testing.assert_array_equal(MeanColour()(view[None]).embedding[0], row["embedding"])


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
            _, _, found = measured(original, changes[f"study: {row['view']}"], 0.0, of_study)
            assert found["cosine"] == pytest.approx(row["cosine_similarity"], abs=1e-6)
            assert found["search finds it"] == f"{ranks[name, row['view']]} of 12"
            baseline = means["baseline"][0]
            assert found["relative shift"] == pytest.approx((1 - row["cosine_similarity"]) / (1 - baseline), abs=1e-5)


def test_whitened_numbers_by_hand(reader, photos, tmp_path):
    fitted = embedshift.whiten(reader.folder, out=tmp_path / "map.npz", map="originals")
    page = encoder_from_study(reader, maps=[fitted])
    assert [space.whitening for space in page.spaces] == [None, fitted]
    original = open_original(OWN, "own.png", page)
    (_, (_, view, _)), (plain, whitened) = measure_view(original, JPEG, 5, page, "input")

    def mapped(vector):
        vector = vector / np.linalg.norm(vector) - fitted.mean
        return vector @ fitted.matrix

    others = [mapped(by_hand(path)) for path in sorted(photos.iterdir())]
    before, after = (mapped(MeanColour()(one[None]).embedding[0].astype(float)) for one in (by_size(OWN), view))
    baseline = np.mean([cosine(u, v) for u, v in itertools.combinations(others, 2)])
    assert whitened["cosine"] == pytest.approx(cosine(before, after), abs=1e-5)
    assert whitened["other images"] == pytest.approx(baseline, abs=1e-5)
    assert whitened["relative shift"] == pytest.approx((1 - cosine(before, after)) / (1 - baseline), abs=1e-4)
    rank = 1 + sum(cosine(other, after) >= cosine(before, after) for other in others)
    assert whitened["search finds it"] == f"{rank} of 13"
    assert plain["cosine"] != pytest.approx(whitened["cosine"], abs=1e-3)


def test_a_map_of_another_encoder_is_refused(reader, photos, encoder, monkeypatch):
    fitted = embedshift.whiten(reader.folder, map="originals")
    (page,) = load_encoders([], [encoder], "cpu", {"map.npz": fitted}, sorted(photos.iterdir()))
    assert len(page.spaces) == 2
    monkeypatch.setattr(MeanColour, "weights_hash", "others")
    with pytest.raises(UsageError, match=r"`whiten` map.npz: fitted to another encoder"):
        load_encoders([], [encoder], "cpu", {"map.npz": fitted}, sorted(photos.iterdir()))


def test_two_encoders_see_the_same_image(of_study, of_photos):
    first, second = open_originals(OWN, "own.png", [of_study, of_photos])
    views = [measured(one, JPEG, 3, page)[0] for one, page in ((first, of_study), (second, of_photos))]
    assert first.by_target.keys() == second.by_target.keys() == {"file", "input"}
    assert not np.array_equal(*views)  # squashed and cropped


def test_the_view_alone_is_encoded(of_study):
    seen = []

    class Counting(MeanColour):
        def __call__(self, views):
            seen.append(views.shape)
            return super().__call__(views)

    page_encoder = dataclasses.replace(of_study, encoder=Counting())
    original = open_original(OWN, "own.png", page_encoder)
    for level in (1, 2, 3):
        measured(original, JPEG, level, page_encoder)
    assert seen == [(1, 32, 32, 3)] * 5  # the original of the file and of the square before them


def test_a_file_that_is_no_image_is_a_line(of_study):
    for data, words in ((b"", "empty"), (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image")):
        with pytest.raises(EmbedshiftError, match=words):
            open_original(data, "a.png", of_study)


@pytest.mark.matrix
@pytest.mark.slow
def test_forty_megapixels_are_read_and_more_than_the_limit_are_refused(of_study):
    large = png(np.broadcast_to(np.uint8([10, 200, 30]), (5_000, 8_000, 3)))
    found = open_original(large, "large.png", of_study)
    for canvas, _ in found.by_target.values():
        assert (canvas.original == [10, 200, 30]).all()
        assert canvas.image.nbytes < 4_000_000  # the large image is not kept
    with pytest.raises(EmbedshiftError, match="100 megapixels"):
        open_original(png(np.zeros((10_001, 10_000), np.uint8)), "larger.png", of_study)


def test_an_encoder_that_gives_no_number_is_a_line_and_one_without_attention_is_shown_without(of_study):
    class Nonsense(MeanColour):
        def __call__(self, views):
            return super().__call__(views).without([0])

    class Blind(MeanColour):
        def __call__(self, views):
            return dataclasses.replace(super().__call__(views), attention=None)

    with pytest.raises(EmbedshiftError, match="no number"):
        open_original(OWN, "own.png", dataclasses.replace(of_study, encoder=Nonsense()))
    page_encoder = dataclasses.replace(of_study, encoder=Blind())
    shown, _ = measure_view(open_original(OWN, "own.png", page_encoder), JPEG, 3, page_encoder, "file")
    assert [attention for *_, attention in shown] == [None, None]


def test_another_encoder_than_the_studys_is_refused(reader, monkeypatch, encoder):
    monkeypatch.setattr(MeanColour, "weights_hash", "others")
    with pytest.raises(UsageError, match="not the encoder"):
        encoder_from_study(reader)
    (reason,) = load_encoders([reader], [], "auto", {}, [])
    assert "not the encoder" in reason
    with pytest.raises(UsageError, match="not the encoder"):
        load_encoders([reader], [encoder], "auto", {}, [])
    with pytest.raises(UsageError, match="name one for each study"):
        load_encoders([reader], [encoder] * 2, "auto", {}, [])


def test_an_encoder_that_is_not_here_leaves_the_points(reader):
    info = reader.info.model_copy(update={"config": {**reader.info.config, "model": "no-such-encoder"}})
    other = dataclasses.replace(reader)
    other.__dict__["info"] = info
    assert "no-such-encoder" in load_encoders([other], [], "auto", {}, [])[0]
