"""One image: what can be done to it, the numbers of the page against those of a run and loops, and its rank."""

import dataclasses
import io
import itertools

import numpy as np
import pytest
from PIL import Image

import embedshift
from embedshift import make_views
from embedshift.app.measured import (
    LEVELS,
    MeasuredOriginals,
    all_changes,
    encoder_from_study,
    load_encoders,
    measure_view,
)
from embedshift.app.measured import open_original as open_originals
from embedshift.augmentations import SUITES, Choice, load_suite, rebuild_suite
from embedshift.augmentations.views import Canvas, view_seed
from embedshift.errors import EmbedshiftError, UsageError
from support.mean_colour import MeanColour
from support.models import pictures

CHANGES = all_changes()
JPEG = CHANGES["strength: jpeg"]
IMAGE = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)


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
    return make_views(image, image_id="x", size=32, resize=resize)["original"]


@pytest.mark.parametrize("target", ["file", "input"])
def test_the_relative_shift_by_hand(of_photos, photos, target):
    vectors = [by_hand(path, "crop") for path in sorted(photos.iterdir())]
    baseline = np.mean([cosine(u, v) for u, v in itertools.combinations(vectors, 2)])
    original = open_original(OWN, "own.png", of_photos)
    view, words, row = measured(original, JPEG, 5, of_photos, target)
    image = np.asarray(Image.open(io.BytesIO(OWN)))
    drawn = make_views(
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


def test_whitened_numbers_by_hand(reader, photos):
    fitted = embedshift.fit_index(reader.folder, "whiten-originals")
    page = encoder_from_study(reader, maps=[fitted])
    assert [space.index for space in page.spaces] == [None, fitted]
    original = open_original(OWN, "own.png", page)
    (_, (_, view, _)), (plain, whitened) = measure_view(original, JPEG, 5, page, "input")

    def mapped(vector):
        vector = vector / np.linalg.norm(vector) - fitted.arrays[0]["mean"]
        return vector @ fitted.arrays[0]["matrix"]

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
    fitted = embedshift.fit_index(reader.folder, "whiten-originals")
    (page,) = load_encoders([], [encoder], "cpu", {"map.npz": fitted}, sorted(photos.iterdir()))
    assert len(page.spaces) == 2
    monkeypatch.setattr(MeanColour, "weights_hash", "others")
    with pytest.raises(UsageError, match=r"`index` map.npz: fitted to another encoder"):
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


def test_an_encoder_that_gives_no_number_is_a_line_and_one_without_attention_is_shown_without(of_study):
    class Nonsense(MeanColour):
        def __call__(self, views):
            return super().__call__(views).without([0])

    class Blind(MeanColour):
        grid = None

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


# What can be done to an image: the same views that a study draws.


def drawn(label, level, name="a.png", seed=0, draw=0):
    augmentation = CHANGES[label].at(level)
    return Canvas(IMAGE).draw(augmentation, view_seed(seed, name, augmentation.seed_name, draw))


@pytest.mark.parametrize(
    ("label", "level", "suite", "view"),
    [("strength: jpeg", 3, "strength", "jpeg@3"), ("strength: noise", 5, "strength", "noise@5"),
     ("strength: flip", 1, "strength", "flip@1"), ("corruptions: fog", 2, "corruptions", "fog@2"),
     ("paper: elastic", 0, "paper", "elastic")],
)  # fmt: skip
@pytest.mark.parametrize("draw", [0, 1])
def test_a_view_is_that_of_a_study_with_this_name_and_seed(label, level, suite, view, draw):
    families = {} if suite == "paper" else {"families": [view.partition("@")[0]]}
    wanted = make_views(IMAGE, image_id="a.png", seed=4, size=32, augmentations=suite, draw=draw, **families)[view]
    assert np.array_equal(drawn(label, level, seed=4, draw=draw), wanted)


def test_every_change_can_be_drawn_at_both_ends_and_between_levels():
    assert len(CHANGES) > 40
    for label, change in CHANGES.items():
        for level in (0.05, 2.55, LEVELS):
            if change.at(level) is not None:  # a standard's levels are whole
                assert drawn(label, level).shape == IMAGE.shape
                assert len(change.at(level).description) > 5
        assert (change.at(0) is None) == change.has_strength or not hasattr(change.kind, "levels"), label


def test_the_families_of_both_suites_are_there_with_the_strengths_of_their_levels():
    for suite in ("strength", "corruptions"):
        for augmentation in SUITES[suite](Choice()):
            family, level = augmentation.level.family, augmentation.level.number
            change = CHANGES[f"{suite}: {family}"]
            assert change.at(level if change.has_strength else LEVELS).level.parameter == augmentation.level.parameter


def test_a_strength_between_two_levels_lies_between_theirs():
    low, between, high = (CHANGES["strength: noise"].at(level).level.parameter for level in (3, 3.5, 4))
    assert between == pytest.approx((low + high) / 2)


def test_a_level_that_there_is_not_is_a_line():
    for level in (-1, 5.1, float("nan"), float("inf")):
        with pytest.raises(EmbedshiftError, match="give a strength from 0 to 5"):
            CHANGES["strength: jpeg"].at(level)


def test_a_studys_own_augmentations_come_first_and_everyday_ones_before_the_others():
    assert next(iter(CHANGES)).startswith("everyday: ")
    found = all_changes(load_suite({"dark": lambda image, rng: image // 2}))
    assert next(iter(found)) == "study: dark"
    assert np.array_equal(Canvas(IMAGE).draw(found["study: dark"].at(0), 0), IMAGE // 2)


# The rank of an image of one's own among a study's originals, by brute force.


def brute(vectors, own, view):
    """Rank of `own`, ties against it, and the nearest other."""
    others = [cosine(each, view) for each in vectors]
    return 1 + sum(each >= cosine(own, view) for each in others), int(np.argmax(others))


@pytest.mark.parametrize("noise", [0.1, 1.0, 3.0, 10.0])
def test_the_rank_of_an_image_that_the_study_does_not_have(noise):
    rng = np.random.default_rng(5)
    vectors = rng.normal(size=(40, 6)).astype(np.float32)
    names = [f"image-{place}" for place in range(40)]
    searched = MeasuredOriginals(names, vectors, [f"hash-{place}" for place in range(40)])
    ranks = set()
    for _ in range(30):
        own = rng.normal(size=6).astype(np.float32)
        view = (own + noise * rng.normal(size=6)).astype(np.float32)
        rank, nearest = brute(vectors.astype(float), own.astype(float), view.astype(float))
        *found, found_cosine = searched.search(own, view, "hash of nobody")
        assert found == [rank, 41, names[nearest]]
        assert found_cosine == pytest.approx(cosine(vectors[nearest].astype(float), view.astype(float)), abs=1e-6)
        ranks.add(rank)
    assert noise < 1 or len(ranks) > 3, "no image leaves anything behind for the next"


def test_an_image_of_the_study_is_not_added_again():
    vectors = np.random.default_rng(5).normal(size=(10, 6)).astype(np.float32)
    searched = MeasuredOriginals([f"i{place}" for place in range(10)], vectors, [f"h{place}" for place in range(10)])
    view = vectors[4] + 0.01
    rank, images, nearest, _ = searched.search(vectors[4], view, "h4")
    assert (rank, images) == (1, 10)
    assert nearest != "i4"
    # As an image of its own it ties with the copy, which counts against it.
    assert searched.search(vectors[4], view)[:3] == (2, 11, "i4")


def test_a_vector_without_direction_is_not_found():
    searched = MeasuredOriginals(["a"], np.ones((1, 3), np.float32), ["h"])
    assert searched.search(np.zeros(3), np.ones(3))[0] == 0
    assert searched.search(np.ones(3), np.zeros(3))[0] == 0


@pytest.mark.slow
def test_originals_of_a_study(reader, monkeypatch):
    assert MeasuredOriginals.of(reader).ids == reader.rows().filter(view="original").collect()["image_id"].to_list()
    monkeypatch.setattr("embedshift.app.measured.MOST_BYTES", 100)
    assert "more than 2 GiB" in MeasuredOriginals.of(reader)
    poor = dataclasses.replace(reader)
    info = reader.info.model_copy(update={"config": {**reader.info.config, "store": "metrics"}})
    poor.__dict__["info"] = info
    assert "no stored embeddings" in MeasuredOriginals.of(poor)
