"""How far the embedding moves: the answer's sentences against tables whose answer is known, ridges against SciPy."""

import itertools
import json

import numpy as np
import plotly.graph_objects as go
import polars as pl
import pytest
from scipy import stats

from embedshift.figures import FigureInput
from embedshift.questions.embedding.section import distributions, shift_extremes
from embedshift.questions.examples.section import furthest, largest_of
from embedshift.report.own_sections import differences_content
from embedshift.store.naming import ImageNaming
from support import mirrored, studies
from support.sentences import paragraphs

COLUMNS = ("augmentation", "mean", "relative_shift", "relative_shift_low", "relative_shift_high")
NOISE, BLUR, FLIP = (
    ("noise", 0.5, 1.25, 1.1, 1.4), ("blur", 0.95, 0.125, 0.11, 0.14), ("flip", 0.99, 0.025, 0.02, 0.031)
)  # fmt: skip


def summary(*rows: tuple[object, ...], baseline: float | None = 0.6) -> pl.DataFrame:
    """The rows of the cosine."""
    schema = dict.fromkeys(COLUMNS[1:], pl.Float64)
    table = pl.DataFrame(rows, schema={"augmentation": pl.String} | schema, orient="row")
    return table.with_columns(metric=pl.lit("cosine_similarity"), baseline=pl.lit(baseline, pl.Float64))


def how_far(*arguments) -> list[str]:
    return paragraphs("embedding/answer.html.j2", shift_extremes(*arguments))


def which_differ(*arguments) -> list[str]:
    return paragraphs("differences.html.j2", differences_content(*arguments))


def which_images(moved) -> list[str]:
    return paragraphs("examples/answer.html.j2", largest_of(moved, ImageNaming({})))


def test_names_the_ends_whatever_the_order_of_the_rows():
    cross = {"noise": 1.01, "flip": 0.02}
    pairs = differences(itertools.combinations(("noise", "blur", "flip"), 2), None)
    first, crossed, second, scale = how_far(summary(FLIP, NOISE, BLUR), "CLIP", 50, cross, pairs)
    assert first == "noise moves the embedding of CLIP furthest: 1.25 [1.10 to 1.40] of the distance to another image."
    wanted = "is on average 1.01 times as far from its own original as from the originals of other images."
    assert crossed == f"A view under noise {wanted}"
    assert second == "flip moves it least: 0.025 [0.020 to 0.031]."
    assert "that between different images of this set (1 − 0.600)" in scale


def test_what_is_not_told_apart_is_not_ranked():
    rows, names = (FLIP, NOISE, BLUR), ("noise", "blur", "flip")
    pairs = [*itertools.combinations(names, 2)]
    wanted = {
        (("noise", "flip"),): [
            "noise (1.25 [1.10 to 1.40]) and blur (0.125 [0.110 to 0.140]) move the embedding of CLIP furthest, in "
            "fractions of the distance to another image: no significant difference between them.",
            "flip (0.025 [0.020 to 0.031]) and blur (0.125 [0.110 to 0.140]) move it least: no significant difference "
            "between them.",
        ],
        (): [
            "The embedding of CLIP moves between 0.025 [0.020 to 0.031] under flip and 1.25 [1.10 to 1.40] of the "
            "distance to another image under noise: no significant difference between the augmentations."
        ],
    }
    for significant, sentences in wanted.items():
        assert how_far(summary(*rows), "CLIP", 50, {}, differences(pairs, significant))[:-1] == sentences
    rows = [NOISE, *((name, 0.9 + place / 100, 0.1 - place / 100, 0, 1) for place, name in enumerate("abcde"))]
    tied = how_far(summary(*rows), "CLIP", 50, {}, differences([("noise", name) for name in "abcde"], None))
    assert tied[1] == "e, d, c, b and a (0.06 to 0.10) move it least: no significant difference between them."
    rows = (FLIP, NOISE, BLUR)
    untested = how_far(summary(*rows), "CLIP", 50, {})
    assert untested[0].endswith("of the distance to another image under noise."), "no table of pairs"
    assert len(untested) == 2


def test_beside_a_far_shift_stands_what_is_left_once_the_mean_is_subtracted():
    columns = {"common_offset": 0.497, "centred_shift": 0.986, "centred_shift_low": 0.87, "centred_shift_high": 1.09}
    table = summary(NOISE, BLUR).with_columns(pl.lit(value).alias(name) for name, value in columns.items())
    wanted = (
        "A common offset makes up 50 % of its mean squared shift; once the originals' mean is subtracted, "
        "its relative shift is 0.99 [0.87 to 1.09]."
    )
    lines = [" ".join(line.split()) for line in how_far(table, "CLIP", 50, {"noise": 0.9, "blur": 0.1})]
    assert sum(wanted in line for line in lines) == 1
    assert lines[1].startswith("A view under noise")


@pytest.mark.parametrize(
    ("rows", "baseline", "wanted"),
    [
        ([("a", 1.0, 0.0), ("b", 1.0, 0.0)], 1.0, "No augmentation moves the embedding of CLIP: every mean"),
        ([("a", 0.4, None)], None, "a, the only augmentation, moves the embedding of CLIP to a mean cosine similarity"),
        ([("a", 0.4, None), ("b", 0.7, None)], 1.0, "from 0.400 under a to 0.700 under b."),
        ([("a", None, None)], None, "No cosine similarity can be computed"),
        ([("a", 0.95, 0.125)], 0.6, "a, the only augmentation, moves the embedding of CLIP: 0.12 of the distance to"),
        (
            [("a", 0.99, 0.025), ("b", 0.5, 1.25)],
            0.6,
            "The embedding of CLIP moves between 0.025 under a and 1.25 of the distance to another image under b.",
        ),
    ],
)
def test_without_a_scale_or_intervals(rows, baseline, wanted):
    found = how_far(summary(*((*row, None, None) for row in rows), baseline=baseline), "CLIP", 3, {})
    assert wanted in found[0]
    assert "Brackets" not in found[-1]
    assert all(sentence.startswith("There is no relative shift") for sentence in found[1:]) or baseline == 0.6


def differences(pairs, significant, difference=-0.1, ratio=(14.0, 8.0, 26.0)) -> pl.DataFrame:
    """Of pairs whose first one moves the embedding further; None = all are significant."""
    columns = ("difference", "ratio", "ratio_low", "ratio_high")
    rows = [
        (*pair, "cosine_similarity", difference, *ratio, significant is None or pair in significant) for pair in pairs
    ]
    schema = dict.fromkeys(("augmentation", "other", "metric"), pl.String) | dict.fromkeys(columns, pl.Float64)
    return pl.DataFrame(rows, schema={**schema, "significant": pl.Boolean}, orient="row")


ORDER = ["noise", "blur", "jitter", "flip"]
PAIRS = [*itertools.combinations(ORDER, 2)]


def test_everything_is_significant():
    found = which_differ(differences(PAIRS, PAIRS), ORDER[::-1], 200)
    assert found[:2] == [
        "All: with 200 images, every pair of augmentations differs significantly in how far it moves the embedding.",
        "For a typical image, noise moves the embedding 14 times as far as blur [8 to 26].",
    ]
    first = "noise moves the embedding further than blur; noise moves the embedding further than jitter; "
    first += "noise moves the embedding further than flip; and 3 more pairs, against the order of their means: "
    assert f" By this ratio, {first}a few images that move far decide a mean." in found[2]
    assert which_differ(differences(PAIRS, PAIRS), ORDER, 200)[2].endswith("corrected for all pairs.")
    by_means = which_differ(differences(PAIRS, PAIRS, ratio=(None, None, None)), ORDER[::-1], 200)
    wanted = "6 pairs without a ratio, because an image does not move at all, are compared by means."
    assert len(by_means) == 2
    assert by_means[1].endswith(wanted)
    close = which_differ(differences(PAIRS, PAIRS, ratio=(1.0512, 1.0041, 1.101)), ORDER, 200)
    assert close[1] == "For a typical image, noise moves the embedding 1.051 times as far as blur [1.004 to 1.101]."


def test_what_is_not_significant_is_named():
    significant = [pair for pair in PAIRS if pair not in [("blur", "jitter"), ("jitter", "flip")]]
    found = which_differ(differences(PAIRS, significant), ORDER, 50)
    words = "4 of 6 pairs of augmentations differ significantly in how far they move the embedding."
    assert found[:3] == [
        words,
        "No significant difference between blur and jitter, nor between jitter and flip.",
        "For a typical image, noise moves the embedding 14 times as far as blur [8 to 26].",
    ]
    found = which_differ(differences(PAIRS, [("blur", "flip"), ("noise", "flip")]), ORDER, 50)
    assert found[2] == "For a typical image, noise moves the embedding 14 times as far as flip [8 to 26].", (
        "the first that are told apart"
    )


def test_how_many_images_would_settle_the_rest():
    ratios = {PAIRS[0]: (1.7, 2.0), PAIRS[1]: (1.25, 2.0), PAIRS[3]: (1.01, 2.0)}
    tables = [differences([pair], [], ratio=(r, r / width, r * width)) for pair, (r, width) in ratios.items()]

    def settled(images):
        """The pairs whose interval leaves out 1 in four of five studies of so many images, by the normal law."""
        in_errors = [
            np.log(ratio) / np.log(width) * stats.norm.ppf(0.975) * (images / 50) ** 0.5
            for ratio, width in ratios.values()
        ]
        return sum(stats.norm.sf(stats.norm.ppf(0.975) - each) >= 0.8 for each in in_errors)

    assert (settled(200), settled(1_250)) == (1, 2)
    found = which_differ(pl.concat(tables), ORDER[:3], 50)
    words = "about 200 images would settle 1 of these 3 pairs and about 1,250 images 2."
    assert found[-2] == f"If the ratios are as measured, each with a chance of 80 %, {words}"


@pytest.mark.parametrize(
    ("pairs", "names", "images", "wanted"),
    [
        (differences(PAIRS, []), ORDER, 12, "None: with 12 images, no pair"),
        (
            differences(PAIRS, [], difference=0.0),
            ORDER,
            50,
            "None: no augmentation moves the embedding more than another.",
        ),
        (
            differences(PAIRS, PAIRS),
            ORDER,
            7,
            "None: 7 images cannot be tested. Tests and intervals need at least 8 images.",
        ),
        (None, ["a"] * 30, 50, "Not tested: 30 augmentations are too many to compare all pairs."),
    ],
)
def test_where_nothing_differs_or_nothing_can_be_tested(pairs, names, images, wanted):
    found = which_differ(pairs, names, images)
    assert found[0].startswith(wanted)
    assert ("approximate" in found[-1]) == (images == 12)
    assert which_differ(None, ["a"], 50) == []


def test_which_images():
    rows = [("noise", 9, 9, "a", 2.0), ("blur", 9, 2, "b", 0.7), ("flip", 9, 0, "c", 0.1)]
    moved = pl.DataFrame(rows, ["augmentation", "images", "far", "image_id", "relative_shift"], orient="row")
    first, second = which_images(moved)
    assert first == "Images with a relative shift above 0.5: all 9 under noise and 2 of 9 under blur."
    wanted = "Furthest under noise: a (relative shift 2.00); under blur: b (0.70); under flip: c (0.10). Show them."
    assert second == wanted
    none = which_images(moved.with_columns(far=pl.lit(0)))
    assert none[0] == "No image has a relative shift above 0.5."
    assert which_images(moved.clear()) == []


def test_furthest_images_equal_a_loop():
    cosines = {"a": (0.9, 0.7, 0.2, 0.4), "b": (0.5, 0.7, 0.6, None)}  # blur, noise; two draws each
    rows = []
    for image, (blur, blur_2, noise, noise_2) in cosines.items():
        values = (("original", None), ("blur", blur), ("noise", noise), ("blur", blur_2), ("noise", noise_2))
        rows += [(image, view, value) for view, value in values]
    schema = {"image_id": pl.String, "view": pl.String, "cosine_similarity": pl.Float64}
    table = summary(("blur", 0.7, 0.75, None, None), ("noise", 0.4, 1.5, None, None))
    found = furthest(pl.DataFrame(rows, schema=schema, orient="row").lazy(), table, ["noise", "blur"]).to_dicts()
    # Mean cosines by image: noise a 0.3, b 0.6; blur a 0.8, b 0.6; the baseline is 0.6.
    assert [tuple(row.values()) for row in found] == [
        ("noise", 2, 2, "a", pytest.approx(1.75)), ("blur", 2, 1, "b", pytest.approx(1.0)),
    ]  # fmt: skip
    tied = pl.DataFrame([(name, view, 0.5) for name in "zyx" for view in ("original", "blur")], schema, orient="row")
    assert furthest(tied.lazy(), table, ["blur"])["image_id"].to_list() == ["x"]


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["cosine_similarity", "l2_distance"])
def test_ridges_are_scipys_density_and_dots_the_means(metric):
    data = FigureInput(studies.paper().reader())
    chart = distributions(data, metric)
    go.Figure(json.loads(json.dumps(chart, allow_nan=False)))  # raises for a name that plotly does not know
    order = data.ranking.sort("rank")["augmentation"].to_list()
    *ridges, dots = chart["data"]
    assert chart["layout"]["yaxis"]["ticktext"] == order
    assert len(ridges) == len(order)
    rows = data.rows.collect()
    for place, (name, ridge) in enumerate(zip(order, ridges, strict=True)):
        values = rows.filter(pl.col("view") == name)[metric].to_numpy()
        half = len(ridge["x"]) // 2
        x, tops = np.array(ridge["x"][:half]), place - np.array(ridge["y"][:half])
        expected = mirrored.density(values, x, *((-1.0, 1.0) if metric == "cosine_similarity" else (0.0,)))
        assert tops / tops.max() == pytest.approx(expected / expected.max(), abs=2e-3)
        assert ridge["line"]["color"] == data.colours[name]
        assert dots["x"][place] == pytest.approx(values.mean())
        assert f"mean {values.mean():.3f}"[:10] in dots["text"][place]
    assert min(min(ridge["x"]) for ridge in ridges) >= (-1 if metric == "cosine_similarity" else 0)


@pytest.mark.slow
def test_equal_values_have_no_curve():
    one = studies.synthetic(5, ["noise"], effect={"noise": 0.0})
    assert len(distributions(FigureInput(one.reader()), "l2_distance")["data"]) == 1
