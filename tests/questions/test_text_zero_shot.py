"""Zero-shot agreement and margins, by slow loops over the rows of a study that was measured."""

import numpy as np
import polars as pl
import pytest
from scipy.stats import binomtest

import embedshift
from embedshift import EmbedshiftError
from embedshift.questions.text.measure import zero_shot_flip, zero_shot_margin
from embedshift.questions.text.tables import zero_shot
from embedshift.statistics.intervals import mean_interval, proportion_interval
from embedshift.statistics.layout import image_rows
from embedshift.statistics.sample import estimates_from_values, gather
from support import studies
from support.captioned import LABELS, MARKS, NINE, Planted

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def photos():
    return studies.pictures(10)


class Unsure(Planted):
    """Its views lie about as near to one class as to another."""

    def encode_text(self, texts):
        names = [next(place for place, label in enumerate(LABELS) if label in text) for text in texts]
        return [np.full(16, 3.0) + 2 * self.axis(place) for place in names]


@pytest.fixture(scope="module")
def study(photos, tmp_path_factory):
    out = tmp_path_factory.mktemp("classes") / "study"
    given = {"augmentations": MARKS, "workers": 0, "labels": list(LABELS), "draws": 2}
    return embedshift.run(photos, out=out, model=Unsure(), shard_size=4, **given)


def test_the_table_by_slow_loops(study):
    rows, table = study.rows().collect(), study.zero_shot()
    assert table["augmentation"].to_list() == list(NINE)
    before = dict(rows.filter(view="original").select("image_id", "zero_shot_margin").iter_rows())
    assert len(before) == 10
    assert min(before.values()) >= 0
    for row in table.to_dicts():
        views = rows.filter(view=row["augmentation"]).to_dicts()
        kept, margins = ({image: [] for image in before} for _ in range(2))
        for view in views:
            kept[view["image_id"]].append(1 - view["zero_shot_flip"])
            margins[view["image_id"]].append(before[view["image_id"]] + view["zero_shot_margin_shift"])
        kept, margins = np.array([*kept.values()]), np.array([*margins.values()])
        assert ((margins < 0) == (kept == 0)).all(), "a margin below 0 is a flip"
        assert row["n"] == kept.size == 20
        assert row["agreement"] == pytest.approx(kept.mean())
        assert (row["margin_before"], row["margin"]) == pytest.approx((np.mean([*before.values()]), margins.mean()))
        fractions = proportion_interval(gather([(kept.sum(axis=1)[:, None], np.full((10, 1), 2.0))]))
        assert (row["ci_low"], row["ci_high"]) == pytest.approx([end.item() for end in fractions])
        means = mean_interval(estimates_from_values(margins.mean(axis=1)[:, None]), seed=0)
        assert (row["margin_low"], row["margin_high"]) == pytest.approx([end.item() for end in means])
    assert 0 < table["agreement"].min() < table["agreement"].max()


def test_the_agreement_of_one_draw_has_clopper_and_pearson_s_interval(study):
    rows = study.rows().filter(pl.col("draw") == 0)
    flips = rows.group_by("view").agg(pl.col("zero_shot_flip").sum()).collect()
    flips = dict(flips.iter_rows())
    for row in zero_shot(image_rows(rows), NINE, seed=0).to_dicts():
        exact = binomtest(10 - int(flips[row["augmentation"]]), 10).proportion_ci(method="exact")
        assert (row["ci_low"], row["ci_high"]) == pytest.approx((exact.low, exact.high), abs=1e-9)


def test_a_margin_below_0_is_a_flip_and_that_of_an_original_never_is():
    original, views, classes = RNG.normal(size=(200, 1, 5)), RNG.normal(size=(200, 9, 5)), RNG.normal(size=(4, 5))
    margins = zero_shot_margin(original, views, classes)
    assert margins.shape == (200, 9)
    np.testing.assert_array_equal(margins < 0, zero_shot_flip(original, views, classes) == 1)
    assert (zero_shot_margin(original, original, classes) > 0).all()
    assert zero_shot_margin([1.0, 0.0], [1.0, 1.0], np.eye(2)).item() == 0, "a tie has no margin"


@pytest.mark.matrix
def test_the_page_shows_the_numbers(study):
    part = study.report(figures=[], formats=["svg"]).read_text().split('id="zero-shot"')[1].split("</table>")[0]
    assert part.count("<tr>") == 10
    for row in study.zero_shot().to_dicts():
        assert f">{row['agreement']:.2f}<small" in part
        assert f">{row['margin']:.2f}"[:5].replace("-", "\u2212") in part


@pytest.mark.matrix
def test_it_needs_no_vectors(photos, study, tmp_path):
    given = {"augmentations": MARKS, "workers": 0, "labels": list(LABELS), "draws": 2, "store": "metrics"}
    small = embedshift.run(photos, out=tmp_path / "s", model=Unsure(), shard_size=4, **given)
    assert "embedding" not in small.rows().collect_schema()
    assert small.zero_shot().equals(study.zero_shot())


@pytest.mark.matrix
def test_without_class_names_there_is_none(photos, tmp_path):
    study = embedshift.run(photos, out=tmp_path / "s", model=Planted(), workers=0, text=True, limit=2)
    assert "zero_shot_margin" not in study.rows().collect_schema()
    with pytest.raises(EmbedshiftError, match="no zero_shot here: it needs class names, by `labels`"):
        study.zero_shot()
