"""Runs that are stopped, run again, run beside another, or run with something changed."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import embedshift
from support import ASKED, command, models, studies
from support.matrix import first_only
from support.models import Colours, pictures

pytestmark = pytest.mark.slow

# Four images a shard at least: the terms of CKA need as many.
SHARDS, SHARD = 5, 4


@pytest.fixture(scope="module")
def photos() -> Path:
    """Large enough that a shard takes a while."""
    return studies.pictures(SHARD * SHARDS, width=1000, height=800)


@pytest.fixture(scope="module")
def clip() -> str:
    return str(studies.checkpoint("clip"))


@pytest.fixture(scope="module")
def whole(photos, clip, tmp_path_factory) -> embedshift.Study:
    """A run that nothing disturbed."""
    out = tmp_path_factory.mktemp("whole") / "study"
    return embedshift.run(photos, out=out, model=clip, shard_size=SHARD, workers=0, layers=True)


def parts(out: Path) -> dict[str, tuple[int, int]]:
    """Finished shards, each with what shows that it was not written again."""
    return {p.name: (p.stat().st_mtime_ns, p.stat().st_ino) for p in sorted((out / "shards").glob("part-*.parquet"))}


def stopped_in_the_middle(out: Path, *given: object) -> Iterator[subprocess.Popen[str]]:
    """A run that is past its first shard and frozen there."""
    process = command.start(*given)
    try:
        while not parts(out):
            assert process.poll() is None, process.communicate()
            time.sleep(0.001)
        process.send_signal(signal.SIGSTOP)
        assert 0 < len(parts(out)) < SHARDS
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def assert_same(out: Path, whole: embedshift.Study) -> None:
    study = embedshift.load(out)
    found, wanted = study.rows().collect(), whole.rows().collect()
    assert found.equals(wanted, null_equal=True)
    for name in ("embedding", "attention"):
        assert found[name].to_numpy().tobytes() == wanted[name].to_numpy().tobytes()
    for table in ("summary", "differences", "directions", "shifts", "layers"):
        assert study.table(table).equals(whole.table(table), null_equal=True), table
    ours, theirs = (list(each.reader().shard_sums("cka")) for each in (study, whole))
    assert ours
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one["terms"], other["terms"])


def arguments(photos: Path, out: Path, clip: str, workers: int) -> list[object]:
    settings = ["--shard-size", SHARD, "--workers", workers, "--layers", "--no-report"]
    return ["run", photos, "--out", out, "--model", clip, *settings]


@pytest.mark.matrix
def test_killed_and_run_again(photos, clip, whole, tmp_path, monkeypatch, capsys):
    out = tmp_path / "study"
    given = arguments(photos, out, clip, 2)
    for process in stopped_in_the_middle(out, *given):
        # While it lives, even asleep, no other gets in.
        second = command.call(monkeypatch, capsys, *given)
        assert second.code == 1
        assert second.line == f"error: {out}: another run is using this folder; wait for it or choose another --out"
        process.kill()  # the process alone: its loaders must not keep the lock, and must end by themselves
        process.communicate(timeout=30)
    done = parts(out)
    (out / "shards" / ".part-00009.parquet.4242").write_bytes(b"half a shard")
    again = command.call(monkeypatch, capsys, *given, "--json")
    assert again.code == 0
    assert f"resuming: {SHARD * len(done)} of {SHARD * SHARDS} images are done" in again.err
    after = parts(out)
    assert len(after) == SHARDS
    assert {name: after[name] for name in done} == done
    assert sorted(p.name for p in (out / "shards").iterdir()) == sorted(after)
    assert_same(out, whole)


@pytest.mark.matrix
def test_ctrl_c_leaves_a_directory_that_goes_on(photos, clip, whole, tmp_path, monkeypatch, capsys):
    out = tmp_path / "study"
    given = arguments(photos, out, clip, workers=1)
    for process in stopped_in_the_middle(out, *given):
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the loaders get it too
        os.killpg(process.pid, signal.SIGCONT)
        done = command.finish(process)
    assert done.code == 130
    assert done.line == "error: stopped; run the same command again to resume"
    assert [p.name for p in (out / "shards").iterdir() if p.suffix != ".parquet"] == []
    before = parts(out)
    assert 0 < len(before) < SHARDS
    assert command.call(monkeypatch, capsys, *given).code == 0
    assert {name: parts(out)[name] for name in before} == before
    assert_same(out, whole)


# Python, and small pictures, for what needs no process.


@pytest.fixture
def small(tmp_path) -> Path:
    return pictures(tmp_path / "small", 6)


def files(out: Path) -> dict[str, tuple[int, int]]:
    found = (p for p in out.rglob("*") if p.is_file() and not p.name.startswith("."))
    return {str(p.relative_to(out)): (p.stat().st_mtime_ns, p.stat().st_ino) for p in found}


def test_a_finished_study_is_left_alone(small, clip, tmp_path, monkeypatch, capsys):
    out = tmp_path / "study"
    arguments = ["run", small, "--out", out, "--model", clip, "--families", "noise", "--no-report"]
    first = command.call(monkeypatch, capsys, *arguments, "--json")
    before = files(out)
    # What changes no number is not part of the configuration.
    again = command.call(monkeypatch, capsys, *arguments, "--json", "--workers", 2, "--device", "cpu")
    assert (first.code, again.code) == (0, 0)
    assert f"{out}: this study is already finished; nothing to do" in again.err
    assert files(out) == before
    assert again.out == first.out
    printed = command.call(monkeypatch, capsys, *arguments)
    assert "6 of 6 images measured before; nothing was left to do." in printed.out


def run(small: Path, out: Path, **settings):
    usual = {"model": Colours(), "families": ["noise", "blur"], "workers": 0, "shard_size": 2}
    return embedshift.run(small, out=out, **(usual | settings))


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


@pytest.mark.parametrize("finished", first_only([True, False]))
def test_another_configuration_is_refused_and_named(finished, small, tmp_path):
    out = tmp_path / "study"
    run(small, out)
    if not finished:
        (out / "shards" / "part-00001.parquet").unlink()
    before = files(out)
    for settings, words in CHANGES:
        with pytest.raises(embedshift.EmbedshiftError) as caught:
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


@pytest.mark.matrix
def test_precision_and_model_of_a_checkpoint_are_part_of_the_study(small, clip, tmp_path):
    out = tmp_path / "study"
    run(small, out, model=clip)
    other = models.clip()
    models.widen(other, seed=1)
    folder = models.save(other, tmp_path / "other")
    for settings, words in (({"precision": "bfloat16"}, "precision: "), ({"model": str(folder)}, "weights_hash: ")):
        with pytest.raises(embedshift.EmbedshiftError, match=words):
            run(small, out, **({"model": clip} | settings))
    # The same weights under another path are the same study.
    assert run(small, out, model=str(Path(clip).rename(tmp_path / "moved"))).is_complete()
    (tmp_path / "moved").rename(clip)


@pytest.mark.matrix
def test_images_added_and_removed_are_named(small, tmp_path):
    out = tmp_path / "study"
    run(small, out)
    new, gone = small / "added, later.png", small / "picture-03.png"
    gone.rename(new)
    with pytest.raises(embedshift.EmbedshiftError) as caught:
        run(small, out)
    assert "added: added, later.png" in str(caught.value)
    assert "removed: picture-03.png" in str(caught.value)
    assert caught.value.exit_code == 2
    new.rename(gone)
    pictures(small / "more", 5)
    with pytest.raises(embedshift.EmbedshiftError, match=r"added: more/picture-00.png, more/.*, …"):
        run(small, out)


@pytest.mark.matrix
def test_an_image_removed_before_the_end_is_named(small, tmp_path):
    out = tmp_path / "study"
    (small / "picture-00.png").write_bytes(b"")
    run(small, out)
    (out / "shards" / "part-00002.parquet").unlink()
    (out / "tables" / "summary.parquet").unlink()
    (small / "picture-00.png").unlink()
    with pytest.raises(embedshift.EmbedshiftError, match=r"removed: picture-00\.png"):
        run(small, out)


def test_missing_parts_are_made_again_and_foreign_ones_refused(small, tmp_path):
    out = tmp_path / "study"
    whole = run(small, out).rows().collect()
    (out / "shards" / "part-00000.parquet").unlink()
    (out / "tables" / "ranking.parquet").unlink()
    (out / "failures.parquet").unlink()
    before = parts(out)
    study = run(small, out)
    assert study.rows().collect().equals(whole, null_equal=True)
    assert {name: parts(out)[name] for name in before} == before
    assert len(study.ranking()) == 2
    for content in (b"PAR1", None):
        part = out / "shards" / "part-00001.parquet"
        if content is None:
            pl.DataFrame({"a": [1]}).write_parquet(part)
        else:
            part.write_bytes(content)
        with pytest.raises(embedshift.EmbedshiftError, match=r"damaged .* with `repair` to measure it") as caught:
            run(small, out)
        assert str(part) in str(caught.value)


def test_a_run_that_stops_on_an_error_goes_on(small, tmp_path):
    class Weak(Colours):
        def __call__(self, views):
            if len(self.batches) == ASKED + 3:
                raise RuntimeError("out of memory")
            return super().__call__(views)

    out = tmp_path / "study"
    with pytest.raises(embedshift.EmbedshiftError, match="out of memory"):
        run(small, out, model=Weak(), batch_size=3, workers=1)
    assert list(parts(out)) == ["part-00000.parquet"]
    first = parts(out)
    encoder = Colours()
    study = run(small, out, model=encoder, batch_size=3)
    assert sum(len(batch) for batch in encoder.batches[ASKED:]) == 12, "the two shards that were not finished"
    assert parts(out)["part-00000.parquet"] == first["part-00000.parquet"]
    assert study.rows().collect().equals(run(small, tmp_path / "b", batch_size=3).rows().collect(), null_equal=True)


def test_a_folder_that_cannot_be_written(small, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(embedshift.EmbedshiftError, match="cannot be written") as caught:
        run(small, tmp_path / "file" / "study")
    assert caught.value.exit_code == 2


@pytest.mark.matrix
def test_pictures_that_change_no_name_are_the_same_study(small, tmp_path):
    """A study is known by the names of its images: their bytes are read once, when they are measured."""
    out = tmp_path / "study"
    before = run(small, out).rows().collect()["embedding"].to_numpy()
    pictures(small, 6, seed=9)
    np.testing.assert_array_equal(run(small, out).rows().collect()["embedding"].to_numpy(), before)
