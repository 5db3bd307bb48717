"""What is chosen by measurement when a study begins is written, and taken by all that goes on with it."""

import logging
import pickle

import numpy as np
import pytest

import embedshift
from embedshift.pipeline.ready import ready
from support import studies
from support.speeds import set_speeds

pytestmark = pytest.mark.slow


def run(out, **settings):
    given = {"precision": "auto", "device": "cpu", "families": ["noise"], "shard_size": 2, "workers": 0} | settings
    model = str(studies.checkpoint("dinov2"))
    return embedshift.run(studies.pictures(3), out=out, model=model, batch_size=10, **given)


@pytest.fixture
def machine(monkeypatch):
    """Another machine at every call: with AVX-512 or without, and a lower precision takes so many times as long."""

    def be(lower, avx512):
        set_speeds(monkeypatch, lower=lower, error=2e-5, avx512=avx512)

    return be


def test_auto_is_resolved_once_and_written(machine, tmp_path, caplog):
    machine(0.5, True)
    caplog.set_level(logging.INFO)
    study = run(tmp_path / "study")
    info = study.info()
    assert (info["config"]["precision"], info["encoder"]["precision"]) == ("auto", "bfloat16")
    assert info["identity"]["precision"] == "bfloat16"
    assert info["encoder"]["kernels"] == []
    lines = [record.getMessage() for record in caplog.records if "auto" in record.getMessage()]
    assert len(lines) == 1
    words = "2.0 times as fast as float32; cosine distance of its embeddings from those in float32: at most 2e-05"
    assert words in lines[0]
    named = run(tmp_path / "named", precision="bfloat16")
    assert named.info()["config_hash"] == info["config_hash"]
    before = study.rows().collect()
    (study.folder / "shards" / "part-00000.parquet").unlink()
    machine(3.0, False)  # where float32 would be the faster one
    assert run(study.folder).rows().collect().equals(before, null_equal=True)
    assert study.info()["encoder"] == info["encoder"]


@pytest.mark.parametrize(("avx512", "kernels"), [(True, ["products"]), (False, [])])
def test_who_goes_on_takes_the_kernels_that_are_written(machine, tmp_path, caplog, avx512, kernels):
    """Also where the processor would choose other ones; the rows are those of the other kernels within rounding."""
    machine(3.0, avx512)
    study = run(tmp_path / "study", precision="float32")
    before, written = study.rows().collect(), study.info()["encoder"]
    assert written["kernels"] == kernels
    (study.folder / "shards" / "part-00000.parquet").unlink()
    machine(3.0, not avx512)
    other = run(tmp_path / "other", precision="float32")
    assert other.info()["encoder"]["kernels"] != kernels
    again = run(study.folder, precision="float32")
    assert again.info()["encoder"] == written
    assert again.rows().collect().equals(before, null_equal=True)
    assert "kernels" not in caplog.text
    found, wanted = (np.stack(each.rows().collect()["embedding"].to_numpy()) for each in (other, again))
    assert np.abs(found - wanted).max() <= 1e-5 * np.abs(wanted).max()


def test_who_loads_by_the_plan_takes_what_was_chosen(machine, tmp_path, monkeypatch):
    """As actors of Ray do: what they would find themselves is no matter."""
    machine(0.5, True)
    plans = []
    no_shards = (each for each in ())
    monkeypatch.setattr("embedshift.runner.find_engine", lambda plan: lambda *_: plans.append(plan) or no_shards)
    for precision in ("auto", "float32"):
        with pytest.raises(IndexError):  # no shard
            run(tmp_path / precision, precision=precision)
    machine(3.0, False)
    for plan, precision, kernels in zip(plans, ("bfloat16", "float32"), ((), ("products",)), strict=True):
        with ready(pickle.loads(pickle.dumps(plan.spec)), compiled=False) as there:
            assert (there.encoder.precision, there.encoder.kernels) == (precision, kernels)


def test_what_needs_float32_gets_it_and_the_command_line_knows_what_is_slower(machine, cli, tmp_path):
    machine(0.5, True)
    assert run(tmp_path / "study", heads=True).info()["encoder"]["precision"] == "float32"
    machine(4.2, True)
    encoder = ("--model", studies.checkpoint("dinov2"), "--device", "cpu", "--workers", 0)
    arguments = ["run", studies.pictures(3), *encoder, "--dry-run", "--precision"]
    assert cli(*arguments, "auto").code == 0
    words = "--precision bfloat16 takes 4.2 times as long as float32 on this processor: use --precision float32 or auto"
    assert words in " ".join(cli(*arguments, "bfloat16").err.split())
