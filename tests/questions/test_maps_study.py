"""`maps` from a run to its rows and tables: which images, what is explained, how it is compared and put to the test."""

import random
import re

import albumentations as A
import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from scipy.stats import pearsonr

import embedshift
from embedshift import EmbedshiftError
from embedshift.encoders.relevance import Explainer
from embedshift.questions.maps.measure import blurred
from embedshift.statistics.intervals import mean_interval
from embedshift.statistics.sample import estimates_from_values
from embedshift.store.redraw import redraw
from support import models, studies
from support.captioned import captioned
from support.models import SIZE, Colours

pytestmark = pytest.mark.slow

AUGMENTATIONS = {
    "flip": A.HorizontalFlip(p=1),
    "dark": lambda image, rng: image // 3,
    "same": lambda image, rng: image,
}
NAMES = ("relevance", "tokens")
COLUMNS = [f"map_{name}_correlation" for name in ("attention", *NAMES)]


@pytest.fixture(scope="module")
def photos():
    return studies.pictures(10)


@pytest.fixture(scope="module")
def dinov2():
    return str(studies.checkpoint("dinov2"))


def run(photos, out, model, **settings):
    given = {"augmentations": AUGMENTATIONS, "workers": 0, "shard_size": 5, "maps": NAMES, "maps_images": 8}
    return embedshift.run(photos, out=out, model=model, **given | settings)


@pytest.fixture(scope="module")
def study(photos, dinov2, tmp_path_factory):
    return run(photos, tmp_path_factory.mktemp("maps") / "study", dinov2, seed=3)


@pytest.fixture(scope="module")
def drawn():
    return random.Random(3).sample([f"picture-{number:02d}.png" for number in range(10)], 8)


def test_the_images_that_the_seed_draws_have_maps_and_no_others(study, drawn):
    rows = study.rows().collect()
    for name in ("attention", *NAMES):
        of_views, of_original = f"map_{name}", f"map_{name}_original"
        assert rows.schema[of_views] == pl.Array(pl.Float32, 16)
        is_view = (rows["view"] != "original") & rows["image_id"].is_in(drawn)
        is_original = (rows["view"] == "original") & rows["image_id"].is_in(drawn)
        assert (rows[of_views].is_not_null() == is_view).all()
        assert (rows[of_original].is_not_null() == is_original).all()
        assert (rows[f"map_{name}_deletion"].is_not_null() == is_original).all()


def test_maps_are_those_of_the_original_s_own_direction(study, photos, dinov2, drawn):
    encoder = embedshift.load_encoder(dinov2)
    (image,), missing = redraw(study.reader(), [drawn[0]])
    assert not missing
    original = image.views["original"]
    target = encoder(original[None]).embedding[0].astype(float)
    target /= np.linalg.norm(target)
    # The user's own functions are not drawn again.
    views = np.stack([original, image.views["flip"], original // 3])
    wanted = Explainer(encoder, NAMES)(views, target) | {"attention": encoder(views).attention}
    rows = study.rows().filter(image_id=drawn[0]).collect()
    for name, maps in wanted.items():
        found = [rows.filter(view="original")[f"map_{name}_original"][0]]
        found += [rows.filter(view=view)[f"map_{name}"][0] for view in ("flip", "dark")]
        np.testing.assert_allclose(np.stack(found), maps.reshape(3, -1), rtol=1e-4, atol=1e-6)


def test_comparisons_are_those_of_the_stored_maps(study):
    rows = study.rows().collect()
    for image in rows.filter(pl.col("map_tokens_original").is_not_null()).iter_rows(named=True):
        for row in rows.filter(pl.col("image_id") == image["image_id"], pl.col("view") != "original").iter_rows(
            named=True
        ):
            for name in ("attention", *NAMES):
                before, after = np.array(image[f"map_{name}_original"]), np.array(row[f"map_{name}"])
                wanted = pearsonr(before, after).statistic
                assert row[f"map_{name}_correlation"] == pytest.approx(wanted, abs=1e-5)
            p, q = (np.array(m, float) / np.sum(m) for m in (image["map_relevance_original"], row["map_relevance"]))
            bits = sum(0.5 * (x * np.log2(x / (p + q) * 2)).sum() for x in (p, q))
            assert row["map_relevance_divergence"] == pytest.approx(bits, abs=1e-5)


def test_what_is_the_same_has_not_moved_and_what_moves_nobody_knows_how_is_not_aligned(study):
    rows = study.rows().filter(pl.col("map_tokens").is_not_null()).collect()
    same = rows.filter(view="same").select(COLUMNS).to_numpy()
    np.testing.assert_allclose(same, 1, atol=1e-4)
    assert rows.filter(view="dark").select(COLUMNS).to_numpy().max() < 0.9999
    for name in ("attention", *NAMES):
        aligned = rows[f"map_{name}_aligned_correlation"]
        assert (aligned.is_not_null() == (rows["view"] == "flip")).all()


def test_scores_against_patches_taken_away_one_step_at_a_time(study, dinov2, drawn):
    encoder = embedshift.load_encoder(dinov2)
    (image,), _ = redraw(study.reader(), [drawn[1]])
    original = image.views["original"]
    whole = encoder(original[None]).embedding[0].astype(float)
    row = study.rows().filter(image_id=drawn[1], view="original").collect()
    for name in NAMES:
        order = np.argsort(-np.array(row[f"map_{name}_original"][0]), kind="stable")
        curves = {"deletion": [], "insertion": []}
        for step in range(11):
            for kind, curve in curves.items():
                view, other = (original, blurred(original)) if kind == "deletion" else (blurred(original), original)
                view = view.copy()
                for patch in order[: int(np.ceil(16 * step / 10))]:
                    y, x = 8 * (patch // 4), 8 * (patch % 4)
                    view[y : y + 8, x : x + 8] = other[y : y + 8, x : x + 8]
                given = encoder(view[None]).embedding[0].astype(float)
                curve.append(given @ whole / np.linalg.norm(given) / np.linalg.norm(whole))
        for kind, curve in curves.items():
            assert row[f"map_{name}_{kind}"][0] == pytest.approx(np.trapezoid(curve, dx=0.1), abs=1e-5)


def test_the_table_of_changes_against_loops(study):
    table, rows = study.table("maps"), study.rows().filter(pl.col("map_tokens").is_not_null()).collect()
    assert table.columns == ["augmentation", "map", "metric", "n", "mean", "ci_low", "ci_high"]
    assert len(table) == 3 * (5 + 5 + 2)
    for row in table.iter_rows(named=True):
        values = rows.filter(view=row["augmentation"])[f"map_{row['map']}_{row['metric']}"].drop_nulls().to_numpy()
        assert row["n"] == len(values)
        if not len(values):
            assert row["metric"].startswith("aligned")
            assert row["mean"] is row["ci_low"] is None
            continue
        assert row["mean"] == pytest.approx(values.mean(), rel=1e-12)
        low, high = mean_interval(estimates_from_values(values[:, None]), seed=3)
        least, most = (
            (0.5, 1) if "similarity" in row["metric"] else (0, 1) if row["metric"] == "divergence" else (-1, 1)
        )
        assert row["ci_low"] == pytest.approx(max(least, low.item()), rel=1e-9)
        assert row["ci_high"] == pytest.approx(min(most, high.item()), rel=1e-9)


def test_the_table_of_trust_against_loops(study):
    table = study.table("map_trust")
    assert table.columns == ["map", "score", "n", "mean", "ci_low", "ci_high", "gain", "significant"]
    rows = study.rows().filter(pl.col("map_tokens_original").is_not_null()).collect()
    assert table["map"].to_list()[::2] == ["attention", "relevance", "tokens", "random"]
    for row in table.iter_rows(named=True):
        values, other = (rows[f"map_{name}_{row['score']}"].to_numpy() for name in (row["map"], "random"))
        assert (row["n"], row["mean"]) == (8, pytest.approx(values.mean(), rel=1e-12))
        assert row["ci_low"] < row["mean"] < row["ci_high"]
        if row["map"] == "random":
            assert row["gain"] is row["significant"] is None
        else:
            sign = -1 if row["score"] == "deletion" else 1
            assert row["gain"] == pytest.approx(sign * (values - other).mean(), abs=1e-12)


@pytest.mark.matrix
def test_gone_on_with_and_by_loaders_the_rows_are_the_same(study, photos, dinov2, tmp_path):
    again = run(photos, tmp_path / "study", dinov2, seed=3, workers=1)
    (again.folder / "shards" / "part-00001.parquet").unlink()
    again = run(photos, again.folder, dinov2, seed=3)
    assert_frame_equal(again.rows().collect(), study.rows().collect(), check_exact=True)


def test_other_maps_are_another_study(study, photos, dinov2):
    with pytest.raises(EmbedshiftError, match=r"contains another study: questions\.maps"):
        run(photos, study.folder, dinov2, seed=3, maps=("relevance",))


@pytest.mark.matrix
def test_a_caption_or_words_are_explained_where_they_are_asked_for(tmp_path):
    photos, encoder = captioned(tmp_path / "photos"), models.vision_and_letters()
    ids = [path.name for path in sorted(photos.glob("*.png"))]
    found = {}
    for target in ("a red boat", "caption"):
        asked = run(photos, tmp_path / target[:3], encoder, maps=("relevance",), maps_target=target, limit=3)
        found[target] = asked.rows().filter(pl.col("map_relevance_original").is_not_null()).collect()
    (image,), _ = redraw(asked.reader(), [found["caption"]["image_id"][0]])
    assert image.image_id in ids
    for target, rows in found.items():
        row = rows.filter(image_id=image.image_id)
        vector = encoder.encode_text([row["caption"][0] if target == "caption" else target])[0]
        wanted = Explainer(encoder, ["relevance"])(image.views["original"][None], vector / np.linalg.norm(vector))
        np.testing.assert_allclose(row["map_relevance_original"][0], wanted["relevance"].ravel(), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"maps": ("relevanc",)}, "maps: unknown map 'relevanc'; did you mean 'relevance'?"),
        (
            {"precision": "bfloat16"},
            "`maps` need gradients, which are accurate only in float32; run without `precision`",
        ),
        ({"compile": True}, "`maps` need gradients, which are accurate only in float32; run without `compile`"),
        ({"maps": (), "maps_images": 3}, "choose the maps as well: `maps` relevance,tokens"),
        ({"maps": (), "maps_target": "caption"}, "choose the maps as well: `maps` relevance,tokens"),
        ({"maps_images": 0}, "`maps_images`: give a number of at least 1"),
        ({"maps_target": "caption"}, "`maps_target` caption: no image has a caption"),
        ({"maps_target": " "}, "`maps_target`: give image, caption, or your own text"),
        ({"maps_target": "a boat"}, "text"),
        ({"model": Colours()}, "colours cannot provide these maps: it is not a torch module; run it without `maps`"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line_before_anything_is_measured(settings, words, photos, dinov2, tmp_path):
    with pytest.raises(EmbedshiftError, match=re.escape(words)) as caught:
        run(photos, tmp_path / "study", settings.pop("model", dinov2), **settings)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "study" / "shards").exists()


@pytest.mark.matrix
def test_the_dry_run_says_what_maps_add_and_the_command_line_takes_them(cli, photos, dinov2, tmp_path):
    arguments = ["run", photos, "--model", dinov2, "--out", tmp_path / "study", "--workers", 0, "--size", SIZE]
    dry = cli(*arguments, "--maps", "relevance,tokens", "--maps-images", 2, "--dry-run")
    assert re.search(r"^time: about \d+ s \(.*, \d+ s for maps\)$", dry.out, re.MULTILINE), dry.out + dry.err
    assert "for maps" not in cli(*arguments, "--dry-run").out
    wrong = cli(*arguments, "--maps", "tokenz", "--dry-run")
    assert wrong.code == 2
    assert wrong.line == "error: maps: unknown map 'tokenz'; did you mean 'tokens'? Known: relevance, tokens"
