"""`embedshift threshold` and `study.threshold`: the table, its sentences, and the file that applies it."""

import json
import logging
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

import embedshift
from embedshift.cli import app
from embedshift.errors import UsageError
from embedshift.questions.threshold.numbers import Parts, flagged, p_values
from embedshift.questions.threshold.result import lines_of
from embedshift.statistics.index import fitted_index
from embedshift.statistics.index_parts import Training
from embedshift.statistics.intervals import clopper_pearson
from embedshift.store.info import read_content, write_content
from embedshift.study.indexed import IndexedStudy
from support import studies
from support.command import untouched_logging
from support.overlap import overlaps

pytestmark = pytest.mark.slow

COUNT, DIM = 180, 24
COLUMNS = "rule, score, augmentation, asked, confidence, threshold, queries, found, found_low, found_high"
NOISE = {"crop": 0.5, "blur": 1.2}


def call(*words, code=0):
    with untouched_logging():
        done = CliRunner().invoke(app, [*map(str, words)], catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done


def vectors(count=COUNT, seed=0):
    rng = np.random.default_rng(seed)
    originals = (rng.normal(size=(count, DIM)) + 0.3).astype(np.float32)
    views = {
        name: (originals + size * rng.normal(size=originals.shape)).astype(np.float32) for name, size in NOISE.items()
    }
    return originals, views


def made(folder, originals, views, **settings):
    ids = [f"{place:03d}" for place in range(len(originals))]
    return embedshift.from_vectors(originals, views, ids=ids, out=folder, **settings)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return made(tmp_path_factory.mktemp("threshold") / "study", *vectors())


def arrays_of(study):
    """Unit vectors of a study in its own order, `[n, D]` of originals and of each change."""
    rows = study.rows().collect()
    one = {view: rows.filter(view=view)["embedding"].to_numpy().astype(float) for view in ("original", *NOISE)}
    return {view: each / np.linalg.norm(each, axis=1, keepdims=True) for view, each in one.items()}


def cosines_of(study):
    """Best cosines without a match by change, and cosines of judged views with their originals, by loops."""
    unit, parts = arrays_of(study), Parts.of(np.arange(COUNT), study.reader().info.seed)
    gallery = np.flatnonzero(parts.searched)
    best = {
        name: [
            max(float(unit[name][query] @ unit["original"][each]) for each in gallery) for query in parts.calibration
        ]
        for name in NOISE
    }
    own = {name: [float(unit[name][each] @ unit["original"][each]) for each in parts.judged] for name in NOISE}
    return best, own, gallery


def test_the_table_is_that_of_a_slow_loop(study):
    table = study.threshold(wrong_queries=0.1)
    assert ", ".join(table.columns) == COLUMNS
    assert table["augmentation"].to_list() == ["all", *NOISE, "worst"]
    assert set(table["queries"]) == {COUNT // 3}
    assert set(table.select("rule", "score", "asked", "confidence").rows()) == {("wrong_queries", "cosine", 0.1, None)}
    best, own, gallery = cosines_of(study)
    limits = {name: sorted(values)[int(np.ceil(0.9 * 61)) - 1] for name, values in best.items()}
    limits |= {"worst": max(limits.values())}
    for name in (*NOISE, "worst"):
        row = table.filter(augmentation=name).row(0, named=True)
        assert row["threshold"] == pytest.approx(limits[name], abs=5e-7)
        hits = [[value > limits[name] + 1e-6 for value in own[each]] for each in ([name] if name in NOISE else NOISE)]
        assert row["found"] == pytest.approx(np.mean(hits))
        if name in NOISE:
            ends = clopper_pearson(sum(hits[0]), len(hits[0]))
            assert (row["found_low"], row["found_high"]) == pytest.approx([float(end) for end in ends])
    whole = table.row(0, named=True)
    assert min(limits.values()) - 0.05 < whole["threshold"] <= max(map(max, best.values()))
    curve = study.table("threshold_curve")
    assert set(curve["gallery"]) == {len(gallery)}
    chosen = curve.filter("chosen")
    assert chosen["threshold"].to_list() == [whole["threshold"]]
    assert chosen["wrong"].item() == pytest.approx(6 / 61)
    assert chosen["found"].item() == pytest.approx(whole["found"])


def test_a_confidence_raises_the_threshold_and_settings_are_kept(study):
    plain = study.threshold(wrong_queries=0.06)
    sure = study.threshold(wrong_queries=0.06, confidence=0.95)
    assert (sure["threshold"] >= plain["threshold"]).all()
    assert sure["threshold"][0] > plain["threshold"][0]
    assert set(sure["confidence"]) == {0.95}
    assert study.table("threshold").equals(sure)
    assert study.threshold().equals(sure), "without settings, as it was"
    study.report(figures=[])
    assert embedshift.load(study.folder).table("threshold").equals(sure)


def test_no_original_of_a_calibration_query_is_in_the_gallery_and_groups_stay_together(tmp_path):
    originals, views = vectors(90)
    twice = (
        np.concatenate([originals, originals * 0.5]),
        {name: np.concatenate([each] * 2) for name, each in views.items()},
    )
    groups = [str(place % 90) for place in range(180)]
    study = made(tmp_path / "study", *twice)
    grouped = study.threshold(
        wrong_queries=0.1, groups=dict(zip([f"{p:03d}" for p in range(180)], groups, strict=True))
    )
    assert set(grouped["queries"]) == {30}
    assert grouped["threshold"][0] < 0.9


def test_with_too_few_groups_the_kept_tables_are_empty_and_all_others_are_made(tmp_path, caplog):
    study = made(tmp_path / "study", *vectors(90))
    study.threshold(wrong_queries=0.1)
    groups = {f"{place:03d}": str(place % 12) for place in range(90)}
    with caplog.at_level(logging.WARNING):
        study.regroup(groups)
    assert "no thresholds: `wrong_queries` 0.1 needs 9 calibration queries, and" in caplog.text
    assert study.table("threshold").is_empty()
    with pytest.raises(UsageError, match="has 4, a third of its 12 groups of images; measure 27"):
        study.threshold()
    assert 'id="threshold"' not in study.report(figures=[]).read_text()
    study.regroup("none")
    assert study.threshold().height == 4


def test_near_copies_are_matches_and_left_out_in_a_line(tmp_path):
    originals, views = vectors(120)
    rng = np.random.default_rng(9)
    copies = originals[:60] + 0.02 * rng.normal(size=(60, DIM)).astype(np.float32)
    whole = np.concatenate([originals, copies])
    views = {name: np.concatenate([each, each[:60]]) for name, each in views.items()}
    study = made(tmp_path / "study", whole, views)
    words = call("threshold", study.folder, "--wrong-queries", 0.1).stdout
    number = int(study.table("threshold_curve", wrong_queries=0.1)["near_copies"][0])
    assert number > 5
    assert f"{number} images of the gallery are near-copies of calibration images: matches, left out." in words
    clean = made(tmp_path / "clean", originals, {name: each[:120] for name, each in views.items()})
    limits = [each.threshold(wrong_queries=0.1)["threshold"][0] for each in (study, clean)]
    assert limits[0] < 0.8
    assert limits[0] == pytest.approx(limits[1], abs=0.12)
    assert "near-cop" not in call("threshold", clean.folder, "--wrong-queries", 0.1).stdout


def test_near_copies_in_a_gallery_are_matches_too(tmp_path):
    originals, views = vectors(120)
    rng = np.random.default_rng(9)
    np.save(tmp_path / "gallery.npy", originals[:60] + 0.02 * rng.normal(size=(60, DIM)).astype(np.float32))
    study = made(tmp_path / "study", originals, views)
    alone = study.threshold(wrong_queries=0.1)["threshold"][0]
    limit = study.threshold(wrong_queries=0.1, gallery=str(tmp_path / "gallery.npy"))["threshold"][0]
    assert int(study.table("threshold_curve")["near_copies"][0]) > 5
    assert limit < 0.8
    assert limit == pytest.approx(alone, abs=0.12)


def test_a_larger_gallery_has_a_higher_threshold_and_own_images_are_left_out(study, tmp_path, caplog):
    originals, _ = vectors()
    others, _ = vectors(2_000, seed=5)
    np.save(tmp_path / "gallery.npy", np.concatenate([2 * originals, others]))
    plain = study.threshold(wrong_queries=0.1)
    with caplog.at_level(logging.INFO):
        more = study.threshold(wrong_queries=0.1, gallery=str(tmp_path / "gallery.npy"))
    assert f"{COUNT} images of the gallery are also in the study" in caplog.text
    assert (more["threshold"] > plain["threshold"]).all()
    assert set(study.table("threshold_curve")["gallery"]) == {2_060}
    (tmp_path / "gallery.npy").unlink()
    with caplog.at_level(logging.WARNING):
        embedshift.load(study.folder).report(figures=[])
    assert "`gallery` of its table `threshold` has moved or is gone; made without" in caplog.text


@pytest.mark.parametrize("rule", ["--wrong-queries", "--wrong-flags"])
@pytest.mark.parametrize("score", ["cosine", "normalised"])
def test_the_printed_lines_apply_the_file(rule, score, study, tmp_path, monkeypatch):
    choose = 1 if score == "normalised" else 0
    monkeypatch.setattr("embedshift.questions.threshold.calibration.chosen_score", lambda *given, **more: choose)
    copy = made(tmp_path / "study", *vectors())
    found = json.loads(call("threshold", copy.folder, rule, 0.2, "--out", tmp_path / "t.npz", "--json").stdout)
    printed = call("threshold", copy.folder, rule, 0.2, "--out", tmp_path / "t.npz").stdout
    assert found["apply"] in printed
    assert len(found["apply"].splitlines()) <= 10
    assert found["threshold"][0]["score"] == score
    (stored, _), (queries, _) = vectors(300, seed=3), vectors(80, seed=4)
    queries[:40] = stored[:40] + 0.3 * queries[:40]
    names = {"queries": queries, "stored": stored}
    exec(found["apply"], names)
    data = np.load(tmp_path / "t.npz")
    assert (np.diff(data["best"]) >= 0).all()
    assert len(data["best"]) == COUNT // 3
    asked, kept = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (queries, stored))
    scores = asked @ kept.T
    if score == "normalised":
        for rows, side in ((asked, 0), (kept, 1)):
            level = np.sort(rows @ data["background"].T, axis=1)[:, -10:].mean(axis=1) / 2
            scores = scores - np.expand_dims(level, 1 - side)
    if rule == "--wrong-queries":
        assert (names["is_match"] == (scores > data["threshold"] + 1e-6)).all()
        assert names["is_match"][np.arange(40), np.arange(40)].mean() > 0.8
        assert 0 < names["is_match"][40:].any(axis=1).sum() < 40
    else:
        flags = flagged(p_values(scores.max(axis=1), data["best"]), 0.2)
        assert (names["flagged"] == flags).all()
        assert flags[:40].mean() > 0.8
        assert np.isnan(data["threshold"])


def test_through_the_map_of_an_index(study, tmp_path):
    embedshift.fit_index(study, "whiten", out=tmp_path / "index.npz")
    given = ("--index", tmp_path / "index.npz", "--out", tmp_path / "t.npz", "--json", "--wrong-queries", 0.1)
    found = json.loads(call("threshold", study.folder, *given).stdout)
    plain = study.threshold(wrong_queries=0.1)
    assert found["threshold"][0]["threshold"] != plain["threshold"][0]
    assert study.table("threshold").equals(plain), "the study keeps its own table"
    names = {"queries": vectors(20, seed=4)[0], "stored": vectors(30, seed=3)[0]}
    exec(found["apply"], names)
    assert names["is_match"].shape == (20, 30)
    assert str(np.load(tmp_path / "t.npz")["index"]) == "whiten"


def test_a_study_that_is_older_than_the_question_has_thresholds_too(study, tmp_path):
    copy = studies.copied(study, tmp_path / "study")
    content = read_content(copy.folder)
    del content["questions"]["threshold"]
    write_content(copy.folder, content)
    embedshift.fit_index(study, "whiten", out=tmp_path / "index.npz")
    for index in ((), ("--index", tmp_path / "index.npz")):
        words = call("threshold", copy.folder, "--wrong-queries", 0.1, *index, "--out", tmp_path / "t.npz").stdout
        assert "at most 10 % of new queries" in words
        assert float(np.load(tmp_path / "t.npz")["asked"]) == 0.1


def test_through_an_index_a_study_without_views_is_one_line(tmp_path):
    alone = studies.measured(studies.pictures(4), studies.checkpoint("dinov2"), augmentations="none", workers=0)
    encoder, unit = alone.reader().info.encoder, np.eye(4, alone.reader().dim, dtype=np.float32)
    fitted = fitted_index("centred", Training(unit, unit[:, None][:, :0]))
    replace(fitted, encoder=encoder.weights_hash, embedding=encoder.embedding or "").save(tmp_path / "index.npz")
    with pytest.raises(UsageError, match="no threshold here: it needs augmentations"):
        IndexedStudy(alone.folder, tmp_path / "index.npz").table("threshold", measured=True)


def test_what_is_said_of_flags(study):
    table = study.threshold(wrong_flags=0.1)
    assert table["augmentation"].to_list() == ["all", *NOISE]
    assert table["threshold"].null_count() == 3
    words = call("threshold", study.folder, "--wrong-flags", 0.1).stdout
    assert "At most 10 % of flagged queries have no match, on average, whatever part of a batch has one." in words
    assert "1 in 100 has a match: 0.0 % (needs 1,000 calibration queries)" in words
    half = study.table("threshold_curve").filter("chosen")
    assert half["found"].item() == pytest.approx(table["found"][0])
    assert f"1 in 2 has a match: {100 * table['found'][0]:.1f} %;" in words


def test_what_is_said_of_queries_and_the_regret_of_the_score(study):
    content = json.loads(call("threshold", study.folder, "--wrong-queries", 0.1, "--json").stdout)
    words = " ".join(content["sentences"])
    assert "at most 10 % of new queries without a match get one, on average over calibrations." in words
    assert "Calibrated with 60 queries against a gallery of 60 images." in words
    assert "give yours as `gallery`" in words
    curve = study.table("threshold_curve")
    (score,) = set(curve.filter("chosen")["score"])
    at, other = (curve.filter(wrong=6 / 61, score=name)["found"].item() for name in (score, "normalised"))
    if score == "cosine":
        assert (
            f"normalised scores find {100 * other:.1f} %: a regret of {100 * max(0, other - at):.1f} points." in words
        )
    assert [row["augmentation"] for row in content["threshold"]] == ["all", *NOISE, "worst"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"wrong_queries": 0.01}, "`wrong_queries` 0.01 needs 99 calibration queries, and .* has 60, a third of its"),
        (
            {"wrong_queries": 0.02, "confidence": 0.95},
            "`wrong_queries` 0.02 with `confidence` 0.95 needs 149 calibration queries, .* measure 447",
        ),
        ({"wrong_flags": 0.01}, "`wrong_flags` 0.01 needs 99 calibration queries"),
        ({"wrong_queries": 1e-4}, "needs 9,999 calibration queries, and at most 2,000 are made; give a larger number"),
        ({"wrong_queries": 0.1, "wrong_flags": 0.1}, "are two rules: give one of them"),
        ({"wrong_flags": 0.1, "confidence": 0.9}, "`confidence` is of `wrong_queries`"),
        ({"wrong_queries": 0.0}, "`wrong_queries` 0.0: give a number above 0 and below 1"),
        ({"wrong_flags": 1}, "`wrong_flags` 1: give a number above 0 and below 1"),
        ({"wrong_queries": "x"}, "`wrong_queries` 'x': give a number above 0 and below 1"),
        ({"confidence": float("nan")}, "`confidence` nan: give a number above 0 and below 1"),
        ({"gallery": "gone.npy"}, "gone.npy: cannot be read"),
    ],
    ids=str,
)
def test_a_wrong_setting_is_one_line(given, words, study):
    with pytest.raises(UsageError, match=words) as error:
        study.threshold(**given)
    assert "\n" not in str(error.value)


def test_a_study_without_views_or_with_few_images_is_refused_in_one_line(tmp_path):
    alone = studies.measured(studies.pictures(4), studies.checkpoint("dinov2"), augmentations="none", workers=0)
    with pytest.raises(UsageError, match="no threshold here: it needs augmentations"):
        alone.threshold()
    few = made(tmp_path / "few", *vectors(5))
    with pytest.raises(UsageError, match=r"needs 19 calibration queries, and .* has 2, a third of its 5 images"):
        few.threshold()


def test_the_figure_has_no_words_over_one_another_and_the_page_a_section(study):
    for given in ({"wrong_queries": 0.1}, {"wrong_flags": 0.1}):
        study.threshold(**given)
        assert overlaps(embedshift.load(study.folder).figure("threshold")) == []
    page = study.report().read_text()
    assert 'id="threshold"' in page
    assert "From which score on is it the same image?" in page


@pytest.mark.parametrize(("least", "code"), [(0.1, 0), (0.999, 3)])
def test_a_rule_of_check_judges_what_is_found(least, code, study, tmp_path):
    study.threshold(wrong_queries=0.1)
    (tmp_path / "rules.yaml").write_text(
        f"rules:\n  - {{table: threshold, rule: wrong_queries, augmentation: blur, at_least: {least}}}\n"
    )
    words = call("check", study.folder, "--rules", tmp_path / "rules.yaml", code=code).stdout
    assert "wrong_queries, blur" in words


def test_lines_for_a_path_with_braces_and_quotes(study, tmp_path):
    text = lines_of(study.threshold(wrong_queries=0.1), "a{b}'c.npz")
    compile(text, "lines", "exec")
    assert "a{b}'c.npz" in text
