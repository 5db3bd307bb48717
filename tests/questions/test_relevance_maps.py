"""`maps` from a run to rows, tables, figures and sentences: which images, what is explained and put to the test."""

import dataclasses
import random
import re

import albumentations as A
import numpy as np
import polars as pl
import pytest
from scipy.ndimage import gaussian_filter
from scipy.stats import pearsonr

import embedshift
from embedshift import EmbedshiftError
from embedshift.encoders.relevance import Explainer
from embedshift.figures import FigureInput, iter_figures
from embedshift.figures.shared import overlay
from embedshift.questions.maps import COMPARISONS, column_of
from embedshift.questions.maps.measure import STEPS, blurred, compare, partial_images, ranks
from embedshift.questions.maps.section import most_reliable, trust_rows
from embedshift.report.page import fill
from embedshift.statistics.intervals import mean_interval
from embedshift.statistics.maps import scaled_map
from embedshift.statistics.sample import estimates_from_values
from embedshift.store.redraw import redraw
from support import models, studies
from support.captioned import captioned
from support.image_rows import image_names, pictures
from support.models import SIZE
from support.overlap import overlaps

pytestmark = pytest.mark.slow


AUGMENTATIONS = {"flip": A.HorizontalFlip(p=1), "dark": lambda image, rng: image // 3, "same": lambda image, rng: image}
NAMES = ("relevance", "tokens")
COLUMNS = [f"map_{name}_correlation" for name in ("attention", *NAMES)]


DRAWN = random.Random(3).sample([f"picture-{number:02d}.png" for number in range(10)], 8)


def dinov2():
    return str(studies.checkpoint("dinov2"))


def run(photos, out, model, **settings):
    given = {"augmentations": AUGMENTATIONS, "workers": 0, "shard_size": 5, "maps": NAMES, "maps_images": 8}
    return embedshift.run(photos, out=out, model=model, **given | settings)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return run(studies.pictures(10), tmp_path_factory.mktemp("maps") / "study", dinov2(), seed=3)


def test_the_images_that_the_seed_draws_have_maps_and_no_others(study):
    rows = study.rows().collect()
    for name in ("attention", *NAMES):
        of_views, of_original = f"map_{name}", f"map_{name}_original"
        assert rows.schema[of_views] == pl.Array(pl.Float32, 16)
        is_view = (rows["view"] != "original") & rows["image_id"].is_in(DRAWN)
        is_original = (rows["view"] == "original") & rows["image_id"].is_in(DRAWN)
        assert (rows[of_views].is_not_null() == is_view).all()
        assert (rows[of_original].is_not_null() == is_original).all()
        assert (rows[f"map_{name}_deletion"].is_not_null() == is_original).all()


def test_maps_are_those_of_the_original_s_own_direction(study):
    encoder = embedshift.load_encoder(dinov2())
    (image,), missing = redraw(study.reader(), [DRAWN[0]])
    assert not missing
    original = image.views["original"]
    target = encoder(original[None]).embedding[0].astype(float)
    target /= np.linalg.norm(target)
    # The user's own functions are not drawn again.
    views = np.stack([original, image.views["flip"], original // 3])
    wanted = Explainer(encoder, NAMES)(views, target) | {"attention": encoder(views).attention}
    rows = study.rows().filter(image_id=DRAWN[0]).collect()
    for name, maps in wanted.items():
        found = [rows.filter(view="original")[f"map_{name}_original"][0]]
        found += [rows.filter(view=view)[f"map_{name}"][0] for view in ("flip", "dark")]
        np.testing.assert_allclose(np.stack(found), maps.reshape(3, -1), rtol=1e-4, atol=1e-6)


def test_comparisons_are_those_of_the_stored_maps(study):
    rows = study.rows().collect()
    for image in rows.filter(pl.col("map_tokens_original").is_not_null()).iter_rows(named=True):
        for row in rows.filter(pl.col("view") != "original", image_id=image["image_id"]).iter_rows(named=True):
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


def test_scores_against_patches_taken_away_one_step_at_a_time(study):
    encoder = embedshift.load_encoder(dinov2())
    (image,), _ = redraw(study.reader(), [DRAWN[1]])
    original = image.views["original"]
    whole = encoder(original[None]).embedding[0].astype(float)
    row = study.rows().filter(image_id=DRAWN[1], view="original").collect()
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
        least = 0.5 if "similarity" in row["metric"] else 0 if row["metric"] == "divergence" else -1
        assert row["ci_low"] == pytest.approx(max(least, low.item()), rel=1e-9)
        assert row["ci_high"] == pytest.approx(min(1, high.item()), rel=1e-9)


def test_the_table_of_trust_against_loops(study):
    table = study.table("map_trust")
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


@pytest.mark.matrix
def test_the_dry_run_says_what_maps_add_and_the_command_line_takes_them(cli, tmp_path):
    given = ["--model", dinov2(), "--out", tmp_path / "study", "--workers", 0, "--size", SIZE]
    arguments = ["run", studies.pictures(10), *given]
    dry = cli(*arguments, "--maps", "relevance,tokens", "--maps-images", 2, "--dry-run")
    assert re.search(r"^time: about \d+ s \(.*, \d+ s for maps\)$", dry.out, re.MULTILINE), dry.out + dry.err
    assert "for maps" not in cli(*arguments, "--dry-run").out
    wrong = cli(*arguments, "--maps", "tokenz", "--dry-run")
    assert wrong.code == 2
    assert wrong.line == "error: maps: unknown map 'tokenz'; did you mean 'tokens'? Known: relevance, tokens"


REDRAWN = {"flip": A.HorizontalFlip(p=1), "blur": A.GaussianBlur(p=1), "darker": A.RandomGamma((200, 200), p=1)}


@pytest.fixture(scope="module")
def redrawn(tmp_path_factory):
    asked = {"augmentations": REDRAWN, "store": "metrics", "shard_size": 1000}
    return run(studies.pictures(9), tmp_path_factory.mktemp("shown") / "study", dinov2(), **asked)


def test_overlays_show_the_stored_maps_of_the_original_and_of_the_views_that_changed_most(redrawn):
    figure = redrawn.figure("maps")
    assert overlaps(figure) == []
    ids = image_names(figure)
    assert len(ids) == 2, "of the images that have maps, two are drawn by the seed"
    images, rows = redraw(redrawn.reader(), ids)[0], redrawn.rows().collect()
    shown = ["original", *FigureInput(redrawn.reader()).by_rank()[::-1][:2]]
    panels = iter(pictures(figure))
    for image in images:
        for view in shown:
            row = rows.filter(image_id=image.image_id, view=view)
            assert next(panels).tolist() == image.views[view].tolist()
            for name in ("attention", *NAMES):
                column = f"map_{name}_original" if view == "original" else f"map_{name}"
                values = np.array(row[column][0], np.float32).reshape(4, 4)
                wanted = overlay(image.views[view], values, signed=name == "tokens")
                np.testing.assert_array_equal(next(panels), wanted)


def test_a_signed_map_is_red_above_and_blue_below_and_grey_at_nothing():
    values = np.array([[1.0, 0.0, -0.5]], np.float32)
    laid = overlay(np.zeros((30, 30, 3), np.uint8), values, signed=True).astype(int)
    red, nothing, blue = (laid[15, place] for place in (2, 15, 27))
    assert red[0] > red[2] + 30
    assert blue[2] > blue[0] + 30
    assert np.ptp(nothing) < 5
    assert np.ptp(overlay(np.zeros((30, 30, 3), np.uint8), np.zeros((1, 3)), signed=True)) < 5


def test_the_figure_of_changes_draws_the_table(redrawn):
    figure, table = redrawn.figure("maps_moved"), redrawn.table("maps")
    assert overlaps(figure) == []
    ranked = FigureInput(redrawn.reader()).by_rank()
    assert [axes.get_title(loc="left") for axes in figure.axes][1] == "relevance"
    for axes, name in zip(figure.axes, ("attention", *NAMES), strict=True):
        part = table.filter(map=name, metric="aligned_correlation")
        means = dict(part.select("augmentation", "mean").iter_rows())
        lines, dots = axes.collections
        np.testing.assert_allclose(dots.get_offsets()[:, 0], [means[each] for each in ranked])
        low = dict(part.select("augmentation", "ci_low").iter_rows())
        np.testing.assert_allclose([line[0, 0] for line in lines.get_segments()], [low[each] for each in ranked])
    assert "maps of 8 images" in figure.texts[-1].get_text().replace("\n", " ")


def table_of(**scores):
    """Name → deletion, insertion, and whether each is significantly better than random."""
    rows = [
        {"map": name, "score": kind, "n": 9, "mean": mean, "ci_low": None, "ci_high": None, "gain": 0.1,
         "significant": yes}
        for name, (means, better) in scores.items()
        for kind, mean, yes in zip(("deletion", "insertion"), means, better, strict=True)
    ]  # fmt: skip
    return pl.DataFrame(rows)


def sentence_of(trust):
    """What the section says of which map to trust."""
    content = {"images": "9 images", "target": "the target", "has": [], "overlays": None, "steps": 10, "rows": [],
               "trusted": most_reliable(trust), "is_aligned": False, "ends": [], "moved": None}  # fmt: skip
    (said,) = re.findall(r'<p class="lead">(.*?)</p>', fill("maps/section.html.j2", {"maps": content}), re.DOTALL)
    return " ".join(said.split())


def test_which_map_to_trust_is_said_only_as_far_as_it_is_significant():
    both, no = (True, True), (False, False)
    one = table_of(attention=((0.7, 0.8), both), relevance=((0.6, 0.9), both))
    wanted = "Relevance has the lowest mean deletion (0.600) and the highest mean insertion (0.900) of these images."
    assert sentence_of(one) == wanted
    two = table_of(attention=((0.5, 0.8), both), relevance=((0.6, 0.9), both))
    wanted = "Attention of the last layer has the lowest deletion (0.500), relevance has the highest insertion (0.900)"
    assert sentence_of(two) == f"{wanted}: no map is best by both scores."
    assert "Do not rely on them here" in sentence_of(table_of(attention=((0.5, 0.8), no), relevance=((0.6, 0.9), no)))
    assert most_reliable(one.with_columns(n=7)) == {}
    assert [row["verdict"] for row in trust_rows(table_of(relevance=((0.6, 0.9), (True, False))))] == ["deletion"]
    assert [row["verdict"] for row in trust_rows(one.with_columns(gain=-0.1))] == ["neither", "neither"]
    assert [row["verdict"] for row in trust_rows(one.with_columns(n=7))] == ["–", "–"]


RNG = np.random.default_rng(0)


def test_a_map_that_moves_with_its_image_is_the_same_once_aligned():
    before = RNG.random((4, 4)).astype(np.float32)
    mirrored = before[:, ::-1]
    moved = [scaled_map(before, 32)[:, ::-1], np.full((32, 32), np.nan)]
    for name in ("attention", "relevance", "tokens"):
        found = compare(name, before, np.stack([mirrored, mirrored]), moved, 32)
        assert {*found} == {column_of(name, metric) for metric in COMPARISONS[name]}
        known, unknown = found[column_of(name, "aligned_correlation")]
        assert known == pytest.approx(1, abs=1e-9)
        assert np.isnan(unknown), "how it moves is not known"
        plain = found[column_of(name, "correlation")]
        assert plain[0] == plain[1] == pytest.approx(pearsonr(before.ravel(), mirrored.ravel()).statistic, abs=1e-6)
        assert plain[0] < 0.9
    assert found.keys() == {"map_tokens_correlation", "map_tokens_aligned_correlation"}, "fractions have no sign"


def test_ranks_are_those_of_sorting_and_ties_are_broken_by_the_order_given():
    values = RNG.integers(0, 4, (3, 5)).astype(float)
    ties = RNG.permutation(15)
    found = ranks(values, ties).ravel()
    wanted = sorted(range(15), key=lambda place: (-values.ravel()[place], ties[place]))
    assert [int(np.flatnonzero(found == place)[0]) for place in range(15)] == wanted


def test_patches_are_taken_away_in_order_and_shown_in_order():
    original = RNG.integers(0, 256, (30, 30, 3), dtype=np.uint8)
    places = RNG.permutation(12).reshape(3, 4)
    background, found = blurred(original), partial_images(original, places)
    assert found.shape == (2 * (STEPS - 1), 30, 30, 3)
    for step in range(1, STEPS):
        for y in range(30):
            for x in range(30):
                first = places[y * 3 // 30, x * 4 // 30] < 12 * step / STEPS
                gone, shown = (background, original) if first else (original, background)
                assert (found[step - 1, y, x] == gone[y, x]).all()
                assert (found[STEPS - 2 + step, y, x] == shown[y, x]).all()


def test_blurred_is_a_gaussian_of_a_tenth_of_the_side():
    spot = np.zeros((64, 64, 3), np.uint8)
    spot[20:44, 20:44] = 255
    wanted = gaussian_filter(spot[..., 0].astype(float), 6.4, mode="mirror")
    assert np.abs(blurred(spot)[..., 0] - wanted).max() < 2


def test_an_image_without_maps_is_refused_and_none_is_shown_where_images_may_not_be(redrawn):
    (without,) = set(redrawn.rows().collect()["image_id"]) - set(
        redrawn.rows().filter(pl.col("map_tokens_original").is_not_null()).collect()["image_id"]
    )
    with pytest.raises(EmbedshiftError, match="figure 'maps': none of the chosen images has maps"):
        redrawn.figure("maps", images=[without])
    data = FigureInput(dataclasses.replace(redrawn.reader(), pictures=False))
    names = [kind.name for kind, _, _ in iter_figures(data, ["maps", "maps_moved"])]
    assert names == ["maps_moved"]
