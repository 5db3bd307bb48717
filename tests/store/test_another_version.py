"""A new version of embedshift that changes no number reads old studies, and goes on with those that were stopped."""

import importlib.metadata
import json

import pytest

import embedshift
from support.mean_colour import MeanColour
from support.models import pictures

pytestmark = pytest.mark.slow


@pytest.fixture
def release(monkeypatch):
    """Has embedshift call itself another version."""
    real = importlib.metadata.version

    def set_version(number: str) -> None:
        monkeypatch.setattr(importlib.metadata, "version", lambda name: number if name == "embedshift" else real(name))

    return set_version


def test_a_study_of_an_older_version_is_read_and_gone_on_with(tmp_path, release):
    photos, out = pictures(tmp_path / "photos", 8), tmp_path / "study"
    asked = {"out": out, "model": MeanColour(), "families": ["noise"], "shard_size": 4, "workers": 0}
    release("0.1.0")
    first = embedshift.run(photos, **asked)
    old = json.loads((out / "study.json").read_text())
    kept, gone = sorted((out / "shards").glob("part-*.parquet"))
    before = kept.stat().st_mtime_ns, kept.stat().st_ino
    rows = first.rows().collect()
    gone.unlink()
    release("99.0.0")
    again = embedshift.run(photos, **asked)
    new = json.loads((out / "study.json").read_text())
    assert (old["embedshift"], new["embedshift"]) == ("0.1.0", "99.0.0")
    assert new["config_hash"] == old["config_hash"]
    assert (kept.stat().st_mtime_ns, kept.stat().st_ino) == before
    assert again.rows().collect().equals(rows, null_equal=True)


@pytest.mark.matrix
def test_an_old_study_is_reported_without_being_measured_again(tmp_path, release):
    release("0.1.0")
    out = tmp_path / "study"
    embedshift.run(pictures(tmp_path / "photos", 8), out=out, model=MeanColour(), workers=0)
    release("99.0.0")
    assert embedshift.load(out).summary().height > 0
    assert embedshift.load(out).is_complete()
