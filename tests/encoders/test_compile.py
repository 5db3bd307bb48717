"""`--compile` in a study: another study than the plain one, the same numbers to rounding, and one that goes on."""

import numpy as np
import polars as pl
import pytest
import torch
from transformers import Dinov2Config, Dinov2Model

import embedshift
from embedshift import EmbedshiftError
from support import command, models, studies

pytestmark = pytest.mark.slow

IMAGES, SHARD = 3, 2


@pytest.fixture(scope="module")
def photos():
    return studies.pictures(IMAGES)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    found = Dinov2Model(Dinov2Config(**models.TOWER | {"num_hidden_layers": 2}))
    models.widen(found)
    return str(models.save(found, tmp_path_factory.mktemp("models") / "dinov2"))


def run(photos, out, model, **settings):
    return embedshift.run(photos, out=out, model=model, shard_size=SHARD, batch_size=10, workers=0, **settings)


def traced():
    return torch._dynamo.utils.counters["frames"]["ok"]


@pytest.fixture(scope="module")
def plain(photos, model, tmp_path_factory):
    before = traced()
    study = run(photos, tmp_path_factory.mktemp("plain") / "study", model)
    assert traced() == before
    return study


@pytest.fixture(scope="module")
def compiled(photos, model, tmp_path_factory):
    before = traced()
    study = run(photos, tmp_path_factory.mktemp("compiled") / "study", model, compile=True)
    assert traced() > before, "nothing was compiled"
    return study


@pytest.mark.matrix
def test_rows_are_those_of_the_plain_study_to_rounding(plain, compiled):
    found, wanted = (study.rows().collect() for study in (compiled, plain))
    assert found.schema == wanted.schema
    assert len(found) == 10 * IMAGES
    for name, kind in found.schema.items():
        if kind.is_nested():
            a, b = (rows[name].drop_nulls().explode().to_numpy() for rows in (found, wanted))
            np.testing.assert_allclose(a, b, atol=1e-4, err_msg=name)
        elif kind.is_float():
            a, b = (rows[name].cast(pl.Float64).to_numpy() for rows in (found, wanted))
            np.testing.assert_allclose(a, b, atol=1e-4, err_msg=name)
        else:
            assert found[name].equals(wanted[name], null_equal=True), name


@pytest.mark.matrix
@pytest.mark.parametrize(("first", "then"), [("compiled", "plain"), ("plain", "compiled")])
def test_a_compiled_and_a_plain_study_do_not_relative_shift_a_folder(first, then, photos, model, request):
    study, wanted = request.getfixturevalue(first), then == "compiled"
    assert study.info()["identity"].get("compile") == (None if wanted else True)
    there, now = ("null", "true") if wanted else ("true", "null")
    with pytest.raises(
        EmbedshiftError, match=rf"contains another study: compile: {there} there, {now} now\."
    ) as caught:
        run(photos, study.folder, model, compile=wanted)
    assert caught.value.exit_code == 2


@pytest.mark.matrix
def test_a_shard_that_is_missing_is_made_again_equal(compiled, photos, model, monkeypatch, capsys):
    parts = [compiled.folder / "shards" / f"part-0000{index}.parquet" for index in range(2)]
    before, kept = compiled.rows().collect(), parts[1].stat().st_mtime_ns
    parts[0].unlink()
    arguments = ["--shard-size", SHARD, "--batch-size", 10, "--workers", 0, "--no-report"]
    done = command.call(
        monkeypatch, capsys, "run", photos, "--out", compiled.folder, "--model", model, "--compile", *arguments
    )
    assert done.code == 0, done.err
    assert parts[1].stat().st_mtime_ns == kept
    after = compiled.rows().collect()
    assert after.equals(before, null_equal=True)
    for name in ("embedding", "attention"):
        assert after[name].to_numpy().tobytes() == before[name].to_numpy().tobytes()


def test_an_encoder_that_cannot_be_compiled_is_one_line(photos, tmp_path):
    with pytest.raises(EmbedshiftError, match=r"^colours cannot be compiled: .*; run without it$") as caught:
        run(photos, tmp_path / "study", models.Colours(), compile=True)
    assert caught.value.exit_code == 2
    assert list((tmp_path / "study").rglob("part-*")) == []


@pytest.mark.matrix
def test_one_shard_on_two_devices_is_measured_here_and_compiled(photos, model, tmp_path):
    """A process for one shard is not started; a study that says compiled holds no row that was not."""
    before = traced()
    study = embedshift.run(
        photos, out=tmp_path / "study", model=model, batch_size=10, workers=0, compile=True, device="cpu,cpu"
    )
    assert traced() > before
    assert study.info()["identity"]["compile"] is True
