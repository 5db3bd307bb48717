"""`layers` from a run to table, section and figure: columns, shifts, CKA and its interval, against the papers."""

import itertools

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from scipy import stats

import embedshift
from embedshift.encoders import EncoderOutput
from embedshift.figures import FigureInput
from embedshift.questions.layers import tables
from embedshift.questions.layers.measure import MINIBATCH, CkaSums, shift
from embedshift.questions.layers.section import change, half_way, rows_of
from embedshift.sources import open_source, shuffle
from embedshift.statistics.agreement import cka, cka_interval, gram_matrices, gram_terms, hsic
from embedshift.statistics.intervals import mean_interval
from embedshift.statistics.sample import estimates_from_values
from support import studies
from support.models import MEAN, SIZE, STD, SmallTransformer
from support.synthetic import make_study

SAME = {"same": lambda image, rng: image, "also_same": lambda image, rng: image.copy()}
SMALL = {"dark": lambda image, rng: image // 3, "mirror": lambda image, rng: image[:, ::-1]}
DEPTH = 3


@pytest.fixture(scope="module")
def study():
    asked = {"augmentations": SMALL, "layers": True, "draws": 2, "shard_size": 5, "batch_size": 7}
    return studies.measured(studies.pictures(10), studies.checkpoint("dinov2_registers"), **asked)


@pytest.mark.slow
def test_noise_in_the_last_block_is_seen_there_and_nowhere_else(tmp_path):
    net = SmallTransformer()
    net.blocks[-1].register_forward_hook(lambda block, given, tokens: tokens + torch.randn_like(tokens))
    encoder = embedshift.wrap(net, size=SIZE, mean=MEAN, std=STD, device="cpu")
    asked = {"augmentations": SAME, "layers": True, "workers": 0, "batch_size": 7, "allow_unstable": True}
    table = embedshift.run(studies.pictures(10), out=tmp_path / "study", model=encoder, **asked).layers()
    cosine = table.filter(pl.col("metric") == "cosine_similarity").sort("layer")
    before, last = (cosine.filter((pl.col("layer") == DEPTH) == at)["mean"].to_numpy() for at in (False, True))
    assert (len(before), len(last)) == (8, 4)  # two augmentations, two tokens
    np.testing.assert_allclose(before, 1, atol=1e-6)
    assert (last < 0.99).all()


@pytest.mark.slow
def test_table_against_loops_over_the_rows(study):
    """Means over views; intervals: those of the image means, of one number at a time."""
    rows, table = study.rows().filter(pl.col("view") != "original").collect(), study.layers()
    assert len(table) == 2 * DEPTH * 2 * 3
    for row in table.filter(pl.col("metric") != "cka").iter_rows(named=True):
        column = f"layer_{row['metric'].split('_')[0]}_{row['token']}"
        part = rows.filter(pl.col("view") == row["augmentation"])
        values = part[column].to_numpy()[:, row["layer"] - 1].astype(float)
        assert row["n"] == len(values) == 20
        assert row["mean"] == pytest.approx(values.mean(), rel=1e-12)
        low, high = mean_interval(estimates_from_values(values.reshape(10, 2).mean(axis=1)[:, None]), seed=0)
        most = 1.0 if row["metric"] == "cosine_similarity" else np.inf
        assert (row["ci_low"], row["ci_high"]) == pytest.approx((low.item(), min(high.item(), most)), rel=1e-9)


@pytest.mark.slow
@pytest.mark.matrix
def test_few_images_have_no_interval_and_no_cka(tmp_path):
    for images, shard, wanted in ((7, 15, 0b000), (8, 15, 0b100), (29, 15, 0b100), (30, 15, 0b111), (30, 30, 0b110)):
        study = make_study(tmp_path / f"{images}-{shard}", images, ["noise"], layers=3, shard_size=shard)
        cosine, cka = (study.layers().filter(metric=metric) for metric in ("cosine_similarity", "cka"))
        missing = [cosine["ci_low"], cka["mean"], cka["ci_low"]]
        assert [each.null_count() for each in missing] == [0 if wanted & bit else 6 for bit in (0b100, 0b010, 0b001)]
        assert cosine["mean"].null_count() == 0
        assert cka["n"].to_list() == [images] * len(cka)


@pytest.mark.slow
def test_cka_is_put_together_from_the_shards(study, monkeypatch):
    """Against the layers of every view, encoded again, shard by shard, in the unbiased form for centred likeness."""
    monkeypatch.setattr(tables, "LEAST_CKA", 10)
    photos = studies.pictures(10)
    encoder = embedshift.load_encoder(str(studies.checkpoint("dinov2_registers")), device="cpu")
    sums = np.zeros((2, 2, DEPTH, 3))
    source = open_source([str(photos)])
    ids = [sample.image_id for sample in shuffle(source.samples, source, seed=0)[0]]
    assert len(ids) == 10
    assert ids != sorted(ids)
    for names in (ids[:5], ids[5:]):
        layers = []
        for name in names:
            image = np.asarray(Image.open(photos / name).convert("RGB"))
            views = embedshift.make_views(image, image_id=name, size=SIZE, augmentations=SMALL)
            with encoder.observing(["layers"]):
                layers.append(encoder(np.stack(list(views.values()))).layers)
        states = np.stack(layers).astype(float)
        for a, t, d in np.ndindex(2, 2, DEPTH):
            x, y = states[:, 0, d, t], states[:, 1 + a, d, t]
            k, l = x @ x.T, y @ y.T  # noqa: E741
            sums[a, t, d] += 5 * 2 * np.array([song(k, l), song(k, k), song(l, l)])  # five images, two equal draws
    found = study.reader().sums("cka")
    assert found["images"] == 10
    np.testing.assert_allclose(found["terms"], sums, rtol=1e-4, atol=1e-4 * np.abs(sums).max())
    table = tables.layers(study.reader()).filter(metric="cka").sort("augmentation", "token", "layer")
    wanted = sums[..., 0] / np.sqrt(sums[..., 1] * sums[..., 2])  # the names are in alphabetical order, too
    np.testing.assert_allclose(table["mean"], wanted.ravel(), rtol=1e-3)
    assert table["n"].unique().to_list() == [20]
    assert (table["ci_low"] <= table["mean"]).all()
    assert (table["ci_high"] <= 1).all()
    assert study.layers().filter(metric="cka")["mean"].null_count() == len(table), "ten images are too few"


SUITE = ["noise", "elastic", "blur"]


@pytest.mark.slow
def test_a_row_of_the_section_says_where_half_of_the_shift_is_there():
    ends = {"mean": [0.9529, 0.8, 0.7], "ci_high": [0.96, 0.83, 0.74]}
    of_all = {"augmentation": "noise", "layer": [1, 2, 3], "token": "cls", "metric": "cosine_similarity"}
    table = pl.DataFrame(of_all | ends)
    row = {"augmentation": "noise", "first": "0.047", "last": "0.30", "half": 2}
    assert rows_of(table, 20)["rows"] == [row]
    assert half_way([0.01, 0.3, 0.1, 0.4]) == 2
    assert half_way([3e-8, 6e-8, 1e-7]) is half_way([0.0, 0.0]) is None, "what did not move"
    assert (change(3e-05), change(1e-08), change(None)) == ("0.000030", "0", "–")


@pytest.mark.slow
def test_the_figure_draws_the_table():
    study = studies.every()
    figure, table = study.figure("depth"), study.layers()
    shown = [(token, metric) for metric in ("cosine_similarity", "cka") for token in ("cls", "patches")]
    assert len(figure.axes) == len(shown)
    for axes, (token, metric) in zip(figure.axes, shown, strict=True):
        assert axes.get_yscale() == ("log" if metric == "cosine_similarity" else "linear")
        assert [line.get_label() for line in axes.lines] == SUITE
        for line, name, band in zip(axes.lines, SUITE, axes.collections, strict=True):
            part = table.filter(augmentation=name, token=token, metric=metric)
            mean, low, high = (part[column].to_numpy() for column in ("mean", "ci_low", "ci_high"))
            if metric == "cosine_similarity":
                mean, low, high = 1 - mean, 1 - high, 1 - low
            np.testing.assert_array_equal(line.get_xdata(), part["layer"])
            np.testing.assert_array_equal(line.get_ydata(), mean)
            assert {*band.get_paths()[0].vertices[:, 1]} == {*low, *high}
            assert line.get_color() == FigureInput(study.reader()).colours[name]
    assert "logarithmic axis" in figure.texts[-1].get_text().replace("\n", " ")


@pytest.mark.slow
def test_what_did_not_move_lies_at_the_lower_end_of_the_logarithmic_axis(tmp_path):
    study = make_study(tmp_path / "study", 8, ["noise", "still"], layers=4, effect={"noise": 1.0, "still": 0.0})
    figure = study.figure("depth")
    assert len(figure.axes) == 2, "8 images are too few for CKA"
    for axes in figure.axes:
        noise, still = (line.get_ydata() for line in axes.lines)
        np.testing.assert_array_equal(still, 1e-6)
        assert axes.get_ylim()[0] == 1e-6
        assert axes.get_ylim()[1] > noise.max()
    make_study(tmp_path / "all", 8, ["still"], layers=4, effect={"still": 0.0}).figure("depth")


def u_statistic(k, l):  # noqa: E741
    """The unbiased HSIC as an average over all ordered quadruples of different images (Song et al. 2012)."""
    quadruples = list(itertools.permutations(range(len(k)), 4))
    return np.mean([k[i, j] * (l[i, j] + l[q, r] - 2 * l[i, q]) for i, j, q, r in quadruples])


def song(k, l):  # noqa: E741
    """The same by the matrix form with a vector of ones."""
    m, one = len(k), np.ones(len(k))
    k, l = k - np.diag(np.diag(k)), l - np.diag(np.diag(l))  # noqa: E741
    second = (one @ k @ one) * (one @ l @ one) / ((m - 1) * (m - 2))
    return (np.trace(k @ l) + second - 2 / (m - 2) * (one @ k @ l @ one)) / (m * (m - 3))


def full_batch(x, y):
    """Unbiased linear CKA of all vectors at once."""
    k, l = x @ x.T, y @ y.T  # noqa: E741
    return song(k, l) / np.sqrt(song(k, k) * song(l, l))


@pytest.fixture(scope="module")
def vectors():
    """500 originals and views `[500, 2 layers, 16]`: the first layer moves a little, the second much; far from 0."""
    rng = np.random.default_rng(3)
    x = 5 + rng.normal(size=(500, 2, 16)) * np.linspace(0.2, 3, 16)
    return x, x + rng.normal(size=x.shape) * np.array([0.3, 3.0])[:, None] - 7


def test_hsic_is_the_average_over_quadruples():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(7, 3)), rng.normal(size=(7, 2))
    k, l = x @ x.T, np.exp(y @ y.T)  # noqa: E741
    kept = k.copy()
    assert hsic(k, l) == pytest.approx(u_statistic(k, l), rel=1e-12)
    np.testing.assert_array_equal(k, kept)
    np.testing.assert_allclose(hsic(np.stack([k, l]), l), [u_statistic(k, l), u_statistic(l, l)], rtol=1e-12)


def test_hsic_needs_four_images():
    with pytest.raises(ValueError, match="needs 4 images, not 3"):
        hsic(np.eye(3), np.eye(3))


def summed(x, y, draws=1):
    sums = CkaSums(draws)
    for original, view in zip(x, y, strict=True):
        layers = np.concatenate([original[None], view.reshape(-1, *original.shape)])[:, :, None]
        sums.add(None, EncoderOutput(layers[:, 0, 0], None, None, {"layers": layers}))
        sums.add(None, EncoderOutput(layers[:, 0, 0], None, None))  # without layers: nothing
    return sums.close()


@pytest.mark.slow
def test_minibatches_come_near_the_full_batch_on_500_vectors(vectors):
    x, y = vectors
    sums = summed(x, y)
    wanted = [full_batch(x[:, layer], y[:, layer]) for layer in range(2)]
    assert sums["images"] == 500
    assert sums["terms"].shape == (1, 1, 2, 3)
    np.testing.assert_allclose(cka(sums["terms"][0, 0]), wanted, atol=0.03)
    # It has no bias: over shuffles, that is other minibatches, its terms average to those of the full batch.
    rng, again = np.random.default_rng(0), np.zeros((2, 3))
    for order in (rng.permutation(500) for _ in range(30)):
        again += summed(x[order], y[order])["terms"][0, 0]
    np.testing.assert_allclose(cka(again), wanted, atol=0.004)


def test_minibatches_are_weighted_by_their_images_and_draws_and_augmentations_kept_apart():
    """Against a loop over every minibatch, draw, augmentation and layer; views come draw by draw."""
    rng = np.random.default_rng(1)
    count, draws, augmentations = MINIBATCH + 9, 2, 3
    x = rng.normal(size=(count, 2, 5))
    y = x[:, None] + rng.normal(size=(count, draws * augmentations, 2, 5)) * np.arange(1, 7)[:, None, None]
    wanted = np.zeros((augmentations, 2, 3))
    for start, end in ((0, MINIBATCH), (MINIBATCH, count)):
        for draw, name, layer in np.ndindex(draws, augmentations, 2):
            before, after = x[start:end, layer], y[start:end, draw * augmentations + name, layer]
            k, l = before @ before.T, after @ after.T  # noqa: E741
            wanted[name, layer] += (end - start) * np.array([song(k, l), song(k, k), song(l, l)])
    sums = summed(x, y, draws)
    assert sums["images"] == count
    np.testing.assert_allclose(sums["terms"][:, 0], wanted, rtol=1e-9)


def test_a_rest_of_three_and_what_is_not_finite_are_left_out():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(MINIBATCH + 4, 1, 3))
    y = x + rng.normal(size=x.shape)
    y[5] = np.nan
    sums = summed(x, y)  # the 65th fills the minibatch, three are left
    assert sums["images"] == MINIBATCH
    kept = [index for index in range(MINIBATCH + 1) if index != 5]
    assert cka(sums["terms"][0, 0, 0]) == pytest.approx(full_batch(x[kept, 0], y[kept, 0]), rel=1e-9)
    assert summed(x[:3], x[:3]) == {}


@pytest.mark.parametrize("tokens", [1, 2])
def test_shift_against_loops(tokens):
    layers = np.random.default_rng(4).normal(size=(4, 5, tokens, 6)).astype(np.float32)
    found = shift(layers)
    names = ("cls", "patches")[-tokens:]
    assert set(found) == {f"layer_{metric}_{name}" for metric in ("cosine", "l2") for name in names}
    for view, layer, (place, name) in itertools.product(range(3), range(5), enumerate(names)):
        a, b = layers[0, layer, place].astype(float), layers[view + 1, layer, place].astype(float)
        cosine = a @ b / np.sqrt((a @ a) * (b @ b))
        assert found[f"layer_cosine_{name}"][view, layer] == pytest.approx(cosine, rel=1e-12)
        assert found[f"layer_l2_{name}"][view, layer] == pytest.approx(np.sqrt(((a - b) ** 2).sum()), rel=1e-12)


def cka_terms(x, y):
    return gram_terms(gram_matrices(x), gram_matrices(y))


def shard(rng, images, noise):
    """Terms `[1, 3]` of one minibatch of originals and views, weighted as a shard weights them."""
    x = rng.normal(size=(images, 1, 8)) * np.linspace(0.2, 2, 8)
    return images * cka_terms(x, x + noise * rng.normal(size=x.shape))


def test_it_is_the_jackknife_over_shards():
    rng = np.random.default_rng(0)
    shards = [shard(rng, images, 1.0)[0] for images in (20, 20, 12, 7)]
    left_out = []
    for place in range(4):
        cross, one, other = sum(each for index, each in enumerate(shards) if index != place)
        left_out.append(cross / (one * other) ** 0.5)
    error = np.sqrt(3 / 4 * sum((value - np.mean(left_out)) ** 2 for value in left_out))
    cross, one, other = sum(shards)
    low, high = stats.t(3, cross / (one * other) ** 0.5, error).interval(0.95)
    found = cka_interval(sum(shards), iter(shards))
    assert [end.item() for end in found] == pytest.approx([low, high], rel=1e-9)


@pytest.mark.slow
def test_it_covers():
    rng = np.random.default_rng(1)
    true = cka(sum(shard(rng, 2000, 1.0) for _ in range(5)))[0]
    hits = 0
    for _ in range(300):
        shards = [shard(rng, 24, 1.0) for _ in range(4)]
        low, high = cka_interval(sum(shards), shards)
        hits += low[0] <= true <= high[0]
    assert 0.92 <= hits / 300 <= 0.98


def test_one_shard_has_none_and_equal_ones_have_no_width():
    terms = np.array([[0.9, 1.0, 1.0], [1.0, 1.0, 1.0]])
    assert np.isnan(cka_interval(terms, [terms])).all()
    np.testing.assert_allclose(cka_interval(3 * terms, [terms] * 3), [[0.9, 1.0]] * 2, rtol=0, atol=1e-12)


@pytest.mark.parametrize("images", [4, 5, 8])
def test_the_estimate_is_never_beyond_one_and_may_be_negative(images):
    """By Cauchy and Schwarz; with few images and unrelated views it comes near both ends."""
    rng = np.random.default_rng(images)
    found = np.array([cka(sum(cka_terms(*rng.normal(size=(2, images, 1, 3))) for _ in range(2))) for _ in range(500)])
    assert (np.abs(found[np.isfinite(found)]) <= 1 + 1e-12).all()
    assert found.min() < -0.2


def test_ends_lie_within_the_bounds():
    rng = np.random.default_rng(3)
    shards = [shard(rng, 8, noise) for noise in (0.1, 5.0)]
    low, high = cka_interval(sum(shards), shards)
    assert (low.item(), high.item()) == (-1.0, 1.0)
