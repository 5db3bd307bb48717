"""`layers` from the command line to the table: columns, terms in the shards, intervals."""

import json
import subprocess
import sys

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from polars.testing import assert_frame_equal
from torch import nn

import embedshift
from embedshift.errors import EmbedshiftError
from embedshift.questions.layers import tables
from embedshift.sources import open_source, shuffle
from embedshift.statistics.intervals import mean_interval
from embedshift.statistics.sample import estimates_from_values
from support import command, studies
from support.matrix import first_only
from support.models import MEAN, SIZE, STD, Colours
from support.synthetic import make_study

pytestmark = pytest.mark.slow

SAME = {"same": lambda image, rng: image, "also_same": lambda image, rng: image.copy()}
SMALL = {"dark": lambda image, rng: image // 3, "mirror": lambda image, rng: image[:, ::-1]}
DEPTH = 3


@pytest.fixture(scope="module")
def photos():
    return studies.pictures(10)


@pytest.fixture(scope="module")
def dinov2():
    return str(studies.checkpoint("dinov2_registers"))


def run(photos, out, model, augmentations=SMALL, **settings):
    given = {"layers": True, "shard_size": 5, "workers": 0, "batch_size": 7} | settings
    return embedshift.run(photos, out=out, model=model, augmentations=augmentations, **given)


@pytest.fixture(scope="module")
def study(photos, dinov2, tmp_path_factory):
    return run(photos, tmp_path_factory.mktemp("layers") / "study", dinov2, draws=2)


@pytest.fixture
def few_are_enough(monkeypatch):
    """CKA of as few images as these modules have."""
    monkeypatch.setattr(tables, "LEAST_CKA", 10)


def test_an_identity_changes_no_layer(photos, dinov2, tmp_path, few_are_enough):
    table = run(photos, tmp_path / "study", dinov2, SAME).layers()
    means = table.pivot("metric", index=["augmentation", "layer", "token"], values="mean")
    assert len(means) == 2 * DEPTH * 2
    # The same picture in another place of a batch differs by rounding.
    np.testing.assert_allclose(means["cosine_similarity"], 1, atol=1e-6)
    np.testing.assert_allclose(means["cka"], 1, atol=1e-6)
    np.testing.assert_allclose(means["l2_distance"], 0, atol=1e-4)


class Transformer(nn.Module):
    """Class token and patches through blocks of attention; `noisy` adds fresh noise inside the last block."""

    class Noise(nn.TransformerEncoderLayer):
        noisy = False

        def forward(self, tokens):
            tokens = super().forward(tokens)
            return tokens + torch.randn_like(tokens) if self.noisy else tokens

    def __init__(self, noisy):
        super().__init__()
        torch.manual_seed(0)
        self.cls_token = nn.Parameter(torch.randn(1, 1, 16))
        self.patches = nn.Conv2d(3, 16, 8, 8)
        self.blocks = nn.ModuleList([self.Noise(16, 2, 32, batch_first=True, dropout=0.0) for _ in range(DEPTH)])
        self.blocks[-1].noisy = noisy

    def forward(self, pixels):
        patches = self.patches(pixels).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls_token.expand(len(pixels), -1, -1), patches], dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        return tokens[:, 0]


@pytest.mark.parametrize("noisy", first_only([True, False]))
def test_noise_in_the_last_block_is_seen_there_and_nowhere_else(noisy, photos, tmp_path):
    encoder = embedshift.wrap(Transformer(noisy), size=SIZE, mean=MEAN, std=STD, device="cpu")
    table = run(photos, tmp_path / "study", encoder, SAME, allow_unstable=noisy).layers()
    cosine = table.filter(pl.col("metric") == "cosine_similarity").sort("layer")
    before, last = (cosine.filter((pl.col("layer") == DEPTH) == at)["mean"].to_numpy() for at in (False, True))
    assert (len(before), len(last)) == (8, 4)  # two augmentations, two tokens
    np.testing.assert_allclose(before, 1, atol=1e-6)
    assert (last < 0.99).all() if noisy else np.allclose(last, 1, atol=1e-6)


def test_rows_hold_a_list_per_view_and_the_original_none(study):
    rows = study.rows().collect()
    for name in ("layer_cosine_cls", "layer_l2_cls", "layer_cosine_patches", "layer_l2_patches"):
        assert rows.schema[name] == pl.Array(pl.Float32, DEPTH)
        assert (rows[name].is_null() == (rows["view"] == "original")).all()


def test_table_against_loops_over_the_rows(study):
    """Means over views; intervals: those of the image means, of one number at a time."""
    rows, table = study.rows().filter(pl.col("view") != "original").collect(), study.layers()
    assert table.columns == ["augmentation", "layer", "token", "metric", "n", "mean", "ci_low", "ci_high"]
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


@pytest.mark.matrix
def test_few_images_have_no_interval_and_no_cka(tmp_path):
    for images, intervals, alike in ((7, False, False), (8, True, False), (29, True, False), (30, True, True)):
        table = make_study(tmp_path / str(images), images, ["noise", "blur"], layers=3, shard_size=15).layers()
        cosine, cka = (table.filter(metric=metric) for metric in ("cosine_similarity", "cka"))
        assert cosine["ci_low"].null_count() == cosine["ci_high"].null_count() == (0 if intervals else len(cosine))
        assert cosine["mean"].null_count() == 0
        assert cka["mean"].null_count() == cka["ci_low"].null_count() == (0 if alike else len(cka))
        assert cka["n"].to_list() == [images] * len(cka)


@pytest.mark.matrix
def test_one_shard_gives_cka_without_an_interval(tmp_path):
    cka = make_study(tmp_path / "study", 40, ["noise", "blur"], layers=3).layers().filter(metric="cka")
    assert cka["mean"].null_count() == 0
    assert cka["ci_low"].null_count() == cka["ci_high"].null_count() == len(cka)


def test_cka_is_put_together_from_the_shards(study, photos, dinov2, few_are_enough):
    """Against the layers of every view, encoded again, shard by shard, in the unbiased form for centred likeness."""
    encoder = embedshift.load_encoder(dinov2, device="cpu")
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
            for place, (p, q) in enumerate(((k, l), (k, k), (l, l))):
                p, q = p * (1 - np.eye(5)), q * (1 - np.eye(5))
                second = p.sum() * q.sum() / 12 - 2 / 3 * (p @ q).sum()
                sums[a, t, d, place] += 5 * 2 * ((p * q).sum() + second) / 10  # five images, two equal draws
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


@pytest.mark.matrix
def test_gone_on_with_and_loader_processes_give_the_same_tables(study, photos, dinov2, tmp_path):
    again = run(photos, tmp_path / "study", dinov2, draws=2, workers=1)
    assert_frame_equal(again.layers(), study.layers(), check_exact=True)
    assert_frame_equal(again.rows().collect(), study.rows().collect(), check_exact=True)
    (again.folder / "shards" / "part-00001.parquet").unlink()
    (again.folder / "tables" / "layers.parquet").unlink()
    assert_frame_equal(run(photos, again.folder, dinov2, draws=2).layers(), study.layers(), check_exact=True)


@pytest.mark.matrix
def test_a_finished_study_without_its_table_gets_it_again(study, photos, dinov2):
    (study.folder / "tables" / "layers.parquet").unlink()
    assert len(run(photos, study.folder, dinov2, draws=2).layers())


@pytest.mark.matrix
def test_shards_of_fewer_than_four_images_give_no_cka(photos, dinov2, tmp_path):
    table = run(photos, tmp_path / "study", dinov2, shard_size=3).layers().filter(metric="cka")
    assert table.select("n", "mean", "ci_low", "ci_high").unique().rows() == [(0, None, None, None)]


@pytest.mark.matrix
def test_without_layers_nothing_is_different(photos, dinov2, tmp_path, study):
    """No column, no terms, no table, and no word of it in what the hash is made of."""
    plain = run(photos, tmp_path / "study", dinov2, draws=2, layers=False)
    assert "layers" not in plain.info()["identity"]["questions"]
    assert "layers" not in plain.info()["questions"]
    assert plain.rows().collect_schema().names()[-1] == "caption"
    said = pq.read_metadata(plain.folder / "shards" / "part-00000.parquet").metadata
    assert "cka" not in json.loads(said[b"embedshift.sums"])
    assert not (plain.folder / "tables" / "layers.csv").exists()
    columns = [name for name in study.rows().collect_schema().names() if not name.startswith("layer_")]
    assert_frame_equal(plain.rows().collect(), study.rows().select(columns).collect(), abs_tol=1e-5, rel_tol=1e-5)
    with pytest.raises(EmbedshiftError, match="no layers here; run the study with `layers`"):
        plain.layers()
    with pytest.raises(EmbedshiftError, match="no layers; run it with `layers`"):
        plain.figure("depth")
    with pytest.raises(
        EmbedshiftError, match=r"""contains another study: questions\.layers: null there, \{"layers": true\} now"""
    ):
        run(photos, plain.folder, dinov2, draws=2)


def test_an_encoder_that_cannot_is_refused_by_name(photos, tmp_path):
    with pytest.raises(EmbedshiftError, match="colours gives no layers") as refused:
        run(photos, tmp_path / "study", Colours())
    assert refused.value.exit_code == 2


@pytest.mark.matrix
def test_a_loaded_encoder_gives_layers_only_while_it_is_asked_to(photos, tmp_path):
    encoder = embedshift.wrap(Transformer(False), size=SIZE, mean=MEAN, std=STD, device="cpu")
    run(photos, tmp_path / "with", encoder)
    assert "layer_l2_cls" not in run(photos, tmp_path / "without", encoder, layers=False).rows().collect_schema()


@pytest.mark.matrix
def test_from_the_command_line_to_tables_made_again_without_torch(photos, dinov2, tmp_path, monkeypatch, capsys):
    out = tmp_path / "study"
    arguments = (
        "run",
        photos,
        "--out",
        out,
        "--model",
        dinov2,
        "--layers",
        "--workers",
        "0",
        "--limit",
        "5",
        "--no-report",
    )
    made = command.call(monkeypatch, capsys, *arguments)
    assert made.code == 0, made.err
    before = (out / "tables" / "layers.csv").read_text()
    for file in (out / "tables").iterdir():
        file.unlink()
    code = f"import sys, embedshift; embedshift.load({str(out)!r}).write_tables(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert (out / "tables" / "layers.csv").read_text() == before


def test_list_and_config(tmp_path, monkeypatch, capsys):
    assert "[10] Shift after every block" in command.call(monkeypatch, capsys, "list", "figures").out
    (tmp_path / "settings.yaml").write_text(json.dumps({"images": str(tmp_path), "layers": "perhaps"}))
    arguments = ("run", "--config", tmp_path / "settings.yaml", "--out", tmp_path / "study")
    refused = command.call(monkeypatch, capsys, *arguments)
    assert refused.code == 2
    assert refused.line.startswith("error: layers: ")
