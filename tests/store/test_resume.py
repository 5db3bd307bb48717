"""Runs that are stopped, run again, run beside another, or run with something changed."""

import importlib.metadata
import signal
import time
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

import embedshift
from embedshift import EmbedshiftError
from embedshift.store.shards import SUMS_KEY, shard_path
from support import ASKED, command, studies
from support.counted import BATCH, IMAGES, SHARD, VIEWS, Counted, counted
from support.matrix import first_only
from support.models import Colours, pictures

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = pictures(tmp_path_factory.mktemp("photos"), IMAGES)
    (folder / "picture-03.png").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def whole(photos, tmp_path_factory):
    """A study that nothing stopped."""
    out = tmp_path_factory.mktemp("whole") / "study"
    assert counted(photos, out, Counted(out.parent / "log")) == (0, IMAGES)
    return out


def contents(out: Path) -> dict[str, object]:
    """All content of a study except times: rows bit for bit, sums and tables byte for byte."""
    found: dict[str, object] = {path.name: path.read_bytes() for path in (out / "tables").iterdir()}
    for path in sorted((out / "shards").iterdir()):
        columns = [column.combine_chunks() for column in pq.read_table(path).columns]
        found[path.name] = [part and part.to_pybytes() for column in columns for part in column.buffers()]
        found[f"sums of {path.name}"] = pq.read_metadata(path).metadata[SUMS_KEY]
    return found


def assert_same(out: Path, whole: Path) -> None:
    ours, theirs = contents(out), contents(whole)
    assert ours.keys() == theirs.keys(), "hidden files too"
    assert [name for name in ours if ours[name] != theirs[name]] == []


# What is killed: in a process of its own, whose loaders must not keep the lock, and must end by themselves.
KILLED = """
import sys
from pathlib import Path
from support.counted import Counted, counted
counted(Path(sys.argv[1]), Path(sys.argv[2]), Counted(Path(sys.argv[3]), seconds=0.02), workers=int(sys.argv[4]))
"""


@pytest.mark.parametrize(
    ("workers", "signal_sent"), first_only([(0, signal.SIGKILL), (2, signal.SIGKILL), (2, signal.SIGTERM)])
)
def test_killed_in_the_middle_of_a_shard(workers, signal_sent, photos, whole, tmp_path):
    out, encoder = tmp_path / "study", Counted(tmp_path / "log")
    process = command.start_python(KILLED, photos, out, encoder.log, workers)
    while len(encoder.batches()) < 23 or not shard_path(out, 0).exists():  # the first shard has 13 or 15
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(signal.SIGSTOP)
    with pytest.raises(EmbedshiftError, match="another run is using this folder; wait for it or choose another `out`"):
        counted(photos, out, encoder)  # while it lives, even asleep, no other gets in
    process.send_signal(signal_sent)
    process.send_signal(signal.SIGCONT)
    process.communicate(timeout=30)
    assert shard_path(out, 0).exists()
    assert not shard_path(out, 1).exists()
    in_first_shard = pq.read_metadata(shard_path(out, 0)).num_rows
    before = sum(encoder.batches())
    (out / "shards" / ".part-00001.parquet.4242").write_bytes(b"half a shard")
    assert counted(photos, out, encoder, workers=2 - workers) == (SHARD, IMAGES - SHARD)
    assert sum(encoder.batches()) - before == (IMAGES - 1) * VIEWS - in_first_shard, "the other shards, each once"
    assert_same(out, whole)


def stopped(photos: Path, out: Path, log: Path, batches: int, **settings) -> Counted:
    """A run that Ctrl-C stops after so many batches."""
    with pytest.raises(KeyboardInterrupt):
        counted(photos, out, Counted(log, most=batches, **settings))
    return Counted(log, **settings)


@pytest.mark.matrix
@pytest.mark.parametrize("memory", [BATCH, 1])
def test_stopped_again_and_again(photos, memory, tmp_path):
    """Each run that finishes a shard leaves one less to the next; a run that finishes none leaves nothing."""
    out, whole = tmp_path / "study", tmp_path / "whole"
    counted(photos, whole, Counted(tmp_path / "log of whole", memory=memory))
    for batches in (2, 9, 30, 45):
        encoder = stopped(photos, out, tmp_path / "log", batches * BATCH // memory, memory=memory)
    assert shard_path(out, 0).exists()
    assert counted(photos, out, encoder)[0] >= SHARD
    assert_same(out, whole)


@pytest.mark.matrix
def test_an_image_of_an_unfinished_shard_that_changed_is_measured_as_it_is_now(tmp_path):
    images, out = pictures(tmp_path / "photos", SHARD), tmp_path / "study"
    encoder = stopped(images, out, tmp_path / "log", 8)
    pictures(images, SHARD, seed=9)
    assert counted(images, out, encoder) == (0, SHARD)
    counted(images, tmp_path / "new", Counted(tmp_path / "log of new"))
    assert_same(out, tmp_path / "new")


# What needs no process.


@pytest.fixture
def small(tmp_path) -> Path:
    return pictures(tmp_path / "small", 6)


def run(small: Path, out: Path, **settings):
    usual = {"model": Colours(), "families": ["noise", "blur"], "workers": 0, "shard_size": 2}
    return embedshift.run(small, out=out, **(usual | settings))


def files(out: Path) -> dict[str, tuple[int, int]]:
    """Files, each with what shows that it was not written again."""
    found = (p for p in out.rglob("*") if p.is_file() and not p.name.startswith("."))
    return {str(p.relative_to(out)): (p.stat().st_mtime_ns, p.stat().st_ino) for p in found}


def test_a_finished_study_is_left_alone(small, tmp_path, cli):
    out = tmp_path / "study"
    model = studies.checkpoint("clip")
    arguments = ["run", small, "--out", out, "--model", model, "--families", "noise", "--shard-size", 3, "--no-report"]
    first = cli(*arguments, "--json")
    before = files(out)
    # What changes no number is not part of the configuration.
    again = cli(*arguments, "--json", "--workers", 2, "--device", "cpu")
    assert (first.code, again.code) == (0, 0)
    assert f"{out}: this study is already finished; nothing to do" in again.err
    assert files(out) == before
    assert again.out == first.out
    assert "6 of 6 images measured before; nothing was left to do." in cli(*arguments).out
    shard_path(out, 1).unlink()
    assert "resuming: 3 of 6 images are done" in cli(*arguments).err


OWN = {"mirror": lambda image, rng: image[:, ::-1]}
CHANGES = [
    ({"seed": 1}, "seed: 0 there, 1 now"),
    ({"draws": 2}, "draws: 1 there, 2 now"),
    ({"shard_size": 3}, "shard_size: 2 there, 3 now"),
    ({"batch_size": 5}, "batch_size: "),
    ({"resize": "crop"}, 'resize: "squash" there, "crop" now'),
    ({"metrics": ["patch_similarity_uint8"]}, "metrics: "),
    ({"limit": 4}, "images.count: 6 there, 4 now"),
    ({"augmentations": OWN, "families": []}, "augmentations.noise: "),
    ({"model": Colours(weights_hash="others")}, 'weights_hash: "no weights" there, "others" now'),
    ({"model": Colours(size=40)}, "size: 32 there, 40 now"),
    ({"model": Colours(mean=(0.5, 0.5, 0.5))}, "mean: [0.0, 0.0, 0.0] there, [0.5, 0.5, 0.5] now"),
]


def test_another_configuration_is_refused_and_named(small, tmp_path):
    out = tmp_path / "study"
    run(small, out)
    (out / "shards" / "part-00001.parquet").unlink()
    before = files(out)
    for settings, words in CHANGES:
        with pytest.raises(EmbedshiftError) as caught:
            run(small, out, **settings)
        line = str(caught.value)
        assert caught.value.exit_code == 2
        assert line.startswith(f"{out} contains another study: ")
        assert words in line
        assert line.endswith("Choose another `out`, or delete it")
        # And nothing that is the same is named.
        others = {"seed", "draws", "shard_size", "resize", "weights_hash", "metrics"} - set(settings) - {"model"}
        assert not any(f" {other}: " in line for other in others if other not in words)
    assert files(out) == before
    assert set(run(small, out).rows().collect()["image_id"]) == {f"picture-0{i}.png" for i in range(6)}


def test_missing_parts_are_made_again_and_foreign_ones_refused_by_any_version(small, tmp_path, monkeypatch):
    """Also by a version of embedshift that changes no number."""
    out, real, version = tmp_path / "study", importlib.metadata.version, ["0.1.0"]
    monkeypatch.setattr(importlib.metadata, "version", lambda name: version[0] if name == "embedshift" else real(name))
    first = run(small, out)
    whole, old = first.rows().collect(), first.info()
    (out / "shards" / "part-00000.parquet").unlink()
    (out / "tables" / "ranking.parquet").unlink()
    (out / "failures.parquet").unlink()
    before = {name: state for name, state in files(out).items() if name.startswith("shards")}
    version[0] = "99.0.0"
    assert embedshift.load(out).summary().height > 0
    study = run(small, out)
    assert (old["embedshift"], study.info()["embedshift"]) == ("0.1.0", "99.0.0")
    assert study.info()["config_hash"] == old["config_hash"]
    assert study.rows().collect().equals(whole, null_equal=True)
    assert files(out).items() > before.items()
    assert len(study.ranking()) == 2
    part = out / "shards" / "part-00001.parquet"
    for content in (b"PAR1", None):
        part.write_bytes(content) if content else pl.DataFrame({"a": [1]}).write_parquet(part)
        with pytest.raises(EmbedshiftError, match=r"damaged .* with `repair` to measure it") as caught:
            run(small, out)
        assert str(part) in str(caught.value)


def test_a_run_that_stops_on_an_error_goes_on(small, tmp_path):
    class Weak(Colours):
        def __call__(self, views):
            if len(self.batches) == ASKED + 3:
                raise RuntimeError("out of memory")
            return super().__call__(views)

    out = tmp_path / "study"
    with pytest.raises(EmbedshiftError, match="out of memory"):
        run(small, out, model=Weak(), batch_size=3, workers=1)
    first = files(out / "shards")
    assert list(first) == ["part-00000.parquet"]
    encoder = Colours()
    study = run(small, out, model=encoder, batch_size=3)
    assert sum(len(batch) for batch in encoder.batches[ASKED:]) == 12, "the two shards that were not finished"
    assert files(out / "shards").items() > first.items()
    assert study.rows().collect().equals(run(small, tmp_path / "b", batch_size=3).rows().collect(), null_equal=True)


def test_a_folder_that_cannot_be_written(small, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EmbedshiftError, match="cannot be written") as caught:
        run(small, tmp_path / "file" / "study")
    assert caught.value.exit_code == 2
