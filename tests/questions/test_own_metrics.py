"""Metrics that are functions of the user: their numbers are those of the built-in ones and of a loop."""

import functools
import math
import sys

import numpy as np
import polars as pl
import pytest
from PIL import Image

import embedshift
from embedshift.errors import UsageError
from embedshift.registry import METRICS
from support import reference, studies
from support.models import Colours
from support.processes import run_python

pytestmark = pytest.mark.slow

CHANGES = {"dark": lambda image, rng: image // 2, "mirror": lambda image, rng: image[:, ::-1]}


@pytest.fixture(scope="module", autouse=True)
def no_metric_is_left():
    before = dict(METRICS._entries)
    yield
    METRICS._entries.clear()
    METRICS._entries.update(before)


def own_cosine(embeddings, original):
    """By the slow reference."""
    return [reference.cosine_similarity(original[0].tolist(), vector.tolist()) for vector in embeddings]


def own_l2(embeddings, original):
    return METRICS["l2_distance"].function(original, embeddings)


def own_patch(views, original):
    return METRICS["patch_similarity"].function(original, views)


def own_gain(views, original):
    """Falls below zero where a view is darker; NaN for a mirror, so that nothing is compared."""
    means = views.mean(axis=(1, 2, 3)) - original.mean()
    return np.where(np.abs(means) < 1e-9, np.nan, means) if len(views) == 2 else means


OWN = {"own_cosine": own_cosine, "own_l2": own_l2, "own_patch": own_patch, "own_gain": own_gain}
BUILT_IN = {"own_cosine": "cosine_similarity", "own_l2": "l2_distance", "own_patch": "patch_similarity"}


@pytest.fixture(scope="module")
def photos():
    return studies.pictures(12)


def run(photos, out, metrics, **settings):
    given = {"model": Colours(), "augmentations": CHANGES, "workers": 0, "shard_size": 5} | settings
    return embedshift.run(photos, out=out, metrics=metrics, **given)


@pytest.fixture(scope="module")
def study(photos, tmp_path_factory):
    return run(photos, tmp_path_factory.mktemp("own") / "study", OWN, workers=2, shard_size=20)


def test_a_built_in_metric_as_a_function_has_its_numbers_everywhere(study):
    rows, summary, differences = study.rows().collect(), study.summary(), study.differences()
    kinds = {"own_cosine": (True, ""), "own_l2": (False, "encoder"), "own_patch": (True, "")}
    for own, built_in in BUILT_IN.items():
        np.testing.assert_allclose(rows[own].to_numpy(), rows[built_in].to_numpy(), rtol=1e-9)
        for table in (summary, differences):
            mine, theirs = (table.filter(metric=name).drop("metric") for name in (own, built_in))
            # Built-in metrics of embeddings have the interval of a baseline of all pairs, not of sampled ones.
            left_out = "^centred.*|^ratio.*|common_offset" + ("" if own == "own_patch" else "|^relative_shift_.*")
            columns = pl.selectors.numeric() - pl.selectors.matches(left_out)
            numbers = [frame.select(columns).to_numpy() for frame in (mine, theirs)]
            np.testing.assert_allclose(*numbers, rtol=1e-6, atol=1e-9)
        assert (METRICS[own].higher_is_better, METRICS[own].unit) == kinds[own]
        assert METRICS[own].no_change == METRICS[built_in].no_change


def test_a_metric_without_a_twin_is_measured_as_a_loop_does(study, photos):
    gain = study.rows().select("image_id", "view", "own_gain").collect()
    for image_id, found in gain.filter(view="dark").select("image_id", "own_gain").iter_rows():
        pixels = np.asarray(Image.open(photos / image_id))
        drawn = embedshift.make_views(pixels, image_id=image_id, size=32, augmentations=CHANGES)
        assert found == pytest.approx(drawn["dark"].mean() - drawn["original"].mean())
    assert gain.filter(view="mirror")["own_gain"].fill_nan(None).null_count() == 12
    row = study.summary().filter(metric="own_gain", augmentation="dark").row(0, named=True)
    assert row["ci_low"] < row["mean"] < row["ci_high"] < 0
    assert math.isfinite(row["baseline"])


@pytest.mark.matrix
def test_rules_and_reports_of_another_process_know_it(study, tmp_path):
    rules = tmp_path / "rules.yaml"
    rules.write_text("rules:\n- {table: summary, metric: own_patch, augmentation: mirror, at_most: 0.99}\n")
    program = """
        import sys, embedshift
        study = embedshift.load(sys.argv[1])
        print(len(embedshift.check(study, sys.argv[2]).results), len(embedshift.check(study, sys.argv[2]).of("broken")))
        study.report(figures=["metric_bars"])
    """
    assert run_python(program, str(study.folder), str(rules)) == "1 0\n"
    assert "own patch" in (study.folder / "report.html").read_text()


def test_names_and_functions_mix_and_a_changed_function_is_another_study(photos, tmp_path):
    study = run(photos, tmp_path / "a", ["patch_similarity_uint8", own_patch])
    again = run(photos, tmp_path / "b", {"patch_similarity_uint8": None, "own_patch": own_patch})
    assert study.metrics == again.metrics == [*study.metrics[:-2], "patch_similarity_uint8", "own_patch"]
    written = {path.name: path.stat().st_mtime_ns for path in (study.folder / "shards").iterdir()}
    (study.folder / "shards" / "part-00001.parquet").unlink()
    resumed = run(photos, tmp_path / "a", ["patch_similarity_uint8", own_patch])
    assert resumed.summary().equals(again.summary())
    assert sum(path.stat().st_mtime_ns != written[path.name] for path in (study.folder / "shards").iterdir()) == 1
    other = {"patch_similarity_uint8": None, "own_patch": lambda views, original: own_patch(views, original) ** 2}
    with pytest.raises(UsageError, match="contains another study"):
        run(photos, tmp_path / "a", other)


def test_comparisons_leave_out_what_is_another_function(photos, tmp_path, caplog):
    first, same, other = (
        run(photos, tmp_path / name, {"mine": function}, model=model)
        for name, function, model in (
            ("a", own_patch, Colours()),
            ("b", own_patch, Colours(name="other", weights_hash="other")),
            ("c", lambda views, original: own_patch(views, original) ** 2, Colours(name="third", weights_hash="third")),
        )
    )
    assert "mine" in embedshift.compare([first, same]).comparison["metric"].to_list()
    assert "mine" not in embedshift.compare([first, other]).comparison["metric"].to_list()
    assert "skipping these metrics: mine" in caplog.text


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda views, original: views.mean(), r"metric 'mine' gives .* shape \(\); it must give 1"),
        (lambda views, original: 1 / 0, "metric 'mine' failed: ZeroDivisionError"),
        (lambda views, original: sys.exit(0), r"metric 'mine' failed: it called sys.exit\(0\)"),
        (lambda embeddings, original: np.full(len(embeddings), np.inf), "infinite numbers"),
        (lambda views, original: np.random.default_rng().normal(size=len(views)), "other numbers for the same input"),
        (lambda views, original: views.mean(axis=(1, 2, 3)), "no change must be one finite number"),
        (lambda pixels, original: pixels, "its first parameter is 'pixels'; give a function"),
        (functools.partial(print), "its first parameter is"),
    ],
)
def test_a_function_that_is_no_metric_is_one_line(photos, tmp_path, function, words):
    with pytest.raises(UsageError, match=words):
        run(photos, tmp_path / "study", {"mine": function})
    assert not (tmp_path / "study" / "shards").exists()


@pytest.mark.parametrize("name", ["cosine_similarity", "view", "own metric", 3])
def test_a_name_that_is_taken_is_refused(photos, tmp_path, name):
    with pytest.raises(UsageError, match="is taken or no name of a metric"):
        run(photos, tmp_path / "study", {name: own_patch})


@pytest.mark.parametrize("needs", ["views", "embeddings"])
def test_what_fails_on_an_image_is_a_failure_of_that_image(photos, tmp_path, needs):
    def once(views):
        calls.extend([0] * (len(views) == len(CHANGES)))
        if len(calls) == 7 and len(views) == len(CHANGES):
            raise RuntimeError("not this one")

    def of_views(views, original):
        return once(views) or own_patch(views, original)

    def of_embeddings(embeddings, original):
        return once(embeddings) or own_l2(embeddings, original)

    calls = []
    study = run(photos, tmp_path / "study", {"mine": {"views": of_views, "embeddings": of_embeddings}[needs]})
    (failure,) = study.failures().rows(named=True)
    assert (failure["stage"], len(study.rows().collect())) == ("measure", 11 * 3)
    assert "metric 'mine' failed: RuntimeError: not this one" in failure["reason"]


def test_the_command_imports_it_and_no_file_chooses_it(photos, tmp_path, monkeypatch, cli):
    (tmp_path / "my_metrics.py").write_text(
        "def spread(views, original):\n    return abs(views / 1.0 - original).max(axis=(1, 2, 3))\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    given = ["run", photos, "--out", "out", "--model", studies.checkpoint("vit"), "--limit", "2", "--no-report"]
    done = cli(*given, "--metrics", "python:my_metrics:spread", "--workers", "2")
    assert done.code == 0, done.err
    assert embedshift.load("out").summary().filter(metric="spread")["n"].to_list() == [2] * 9
    (tmp_path / "run.yaml").write_text("metrics: [python:my_metrics:spread]\n")
    assert "is code, which no file can choose" in cli(*given, "--config", "run.yaml").line
    assert "cannot be imported" in cli(*given, "--metrics", "python:my_metrics:none").line
    sys.modules.pop("my_metrics", None)
