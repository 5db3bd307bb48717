"""The Ray engine on a real Ray of this machine: rows as the local engine's, whatever dies on the way."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import ray
from PIL import Image
from polars.testing import assert_frame_equal

import embedshift
from embedshift import EmbedshiftError
from embedshift.engines import ray as engine
from embedshift.errors import UsageError
from embedshift.sources import open_source, shuffle
from embedshift.statistics import baselines
from support import command, studies
from support.archives import write_parquet, write_tar
from support.matrix import first_only
from support.mean_colour import MeanColour
from support.tokenizers_made import make_clip

pytestmark = pytest.mark.slow


class DiesOnce(MeanColour):
    """Kills its own process, if it is a worker, at the first batch that one encodes, as a lost worker does."""

    def __init__(self, marker: Path) -> None:
        self.marker, self.driver = marker, os.getpid()

    def __call__(self, views):
        if os.getpid() != self.driver and not self.marker.exists():
            self.marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(views)


class StopsAfter(MeanColour):
    """In a worker, encodes some batches after those that it is known by, and then hangs for ever."""

    def __init__(self, batches: int) -> None:
        self.left, self.driver = 1 + batches, os.getpid()

    def __call__(self, views):
        while not self.left:
            time.sleep(1)
        self.left -= os.getpid() != self.driver
        return super().__call__(views)


class FailsAndDies(MeanColour):
    """In a worker, raises for its eighth batch, for each view of that too, and ends once at its fourteenth."""

    def __init__(self, marker: Path) -> None:
        self.marker, self.driver, self.batches = marker, os.getpid(), 0

    def __call__(self, views):
        if os.getpid() != self.driver:
            self.batches += len(views) > 1
            if self.batches == 8:
                raise ValueError("the eighth")
            if self.batches == 14 and not self.marker.exists():
                self.marker.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(views)


class FailsOnWhite(MeanColour):
    """Raises for a batch that begins with a white view, and for one view alone, as what is broken; counts on disk."""

    def __init__(self, log: Path) -> None:
        self.log = log

    def __call__(self, views):
        if views[0].min() == 255:
            with self.log.open("a") as file:
                file.write("x")
            raise ValueError("white")
        if len(views) == 1:
            raise ValueError("one view")
        return super().__call__(views)


@pytest.fixture(scope="module", autouse=True)
def cluster():
    """One Ray for all tests of this file: a start takes seconds."""
    for name in (__name__, MeanColour.__module__):
        ray.cloudpickle.register_pickle_by_value(sys.modules[name])  # their encoders travel whole
    ray.init("local", num_cpus=2, log_to_driver=False, include_dashboard=False, logging_level="ERROR")
    yield
    ray.shutdown()


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for number in range(7):
        pixels = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{number}.png")
    (tmp_path / "photos" / "3b.png").write_bytes(b"no picture")
    return tmp_path / "photos"


def run(photos, out, engine, encoder=None, **settings):
    settings = {"shard_size": 2, "batch_size": 10, "workers": 1, **settings}
    return embedshift.run(photos, out=out, engine=engine, model=encoder or MeanColour(), **settings)


def same(first, second):
    tables = ("summary", "ranking", "pairwise", "clusters", "failures")
    return first.rows().collect().equals(second.rows().collect()) and all(
        getattr(first, name)().equals(getattr(second, name)()) for name in tables
    )


# Two encoders at once, and drawing inside the encoder's process, change nothing.
@pytest.mark.parametrize("settings", first_only([{"concurrency": 2, "workers": 0}, {}]), ids=str)
def test_rows_and_tables_equal_the_local_engines(photos, tmp_path, settings):
    local = run(photos, tmp_path / "local", "local", draws=2)
    cluster = run(photos, tmp_path / "ray", "ray", draws=2, **settings)
    assert same(local, cluster)
    assert cluster.failures()["image_id"].to_list() == ["3b.png"]
    assert len(cluster.rows().collect()) == 7 * (1 + 9 * 2)
    assert len(cluster.rows().select("image_id", "view", "draw").unique().collect()) == 7 * (1 + 9 * 2)


@pytest.mark.matrix
@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_archives_that_were_listed_here_are_read_there(kind, photos, tmp_path):
    members = [(path.name, path.read_bytes()) for path in sorted(photos.iterdir())]
    file = {"tar": write_tar, "parquet": write_parquet}[kind](tmp_path / f"photos.{kind}", members)
    local, cluster = (run(file, tmp_path / engine, engine) for engine in ("local", "ray"))
    assert cluster.reader().measured_checksum() == local.reader().measured_checksum()
    assert same(local, cluster)


@pytest.mark.matrix
def test_a_run_that_until_ends_is_the_local_engines(tmp_path, monkeypatch):
    monkeypatch.setattr(baselines, "LEAST", (8, 8))
    monkeypatch.setattr(baselines, "LEAST_OF_SKEWED", (8, 8))
    photos, settings = studies.pictures(60), {"until": 0.6, "shard_size": 4}
    local = run(photos, tmp_path / "local", "local", **settings)
    cluster = run(photos, tmp_path / "ray", "ray", concurrency=2, **settings)
    assert 8 <= local.reader().info.counts.measured < 60
    assert cluster.reader().measured_checksum() == local.reader().measured_checksum()
    assert same(local, cluster)


@pytest.mark.matrix
def test_a_named_model_is_loaded_by_the_actor_and_gives_layers_texts_and_groups(photos, tmp_path):
    settings = {"encoder": str(make_clip(tmp_path / "clip")), "shard_size": 4, "layers": True, "text": True}
    settings |= {"groups": {path.name: int(path.stem[0]) // 2 for path in photos.iterdir()}}
    local, cluster = (run(photos, tmp_path / engine, engine, **settings) for engine in ("local", "ray"))
    assert {"layer_cosine_cls", "word_cosines"} <= set(local.rows().collect_schema())
    assert_frame_equal(cluster.rows().collect(), local.rows().collect(), abs_tol=1e-5)
    assert cluster.info()["groups"] == local.info()["groups"]
    assert cluster.summary()["groups"].max() == 4
    assert {*cluster.table_names} == {*local.table_names} >= {"layers", "words", "word_test"}
    for table in local.table_names:
        assert_frame_equal(cluster.table(table), local.table(table), abs_tol=1e-5)
    # Too few images for a number, enough for its terms.
    terms = [study.reader().sums("cka")["terms"] for study in (local, cluster)]
    np.testing.assert_allclose(*terms, rtol=1e-4)


@pytest.mark.matrix
def test_an_actor_that_dies_is_replaced_and_its_shard_done_again(photos, tmp_path):
    lost = run(photos, tmp_path / "lost", "ray", DiesOnce(tmp_path / "died"))
    assert (tmp_path / "died").exists(), "nothing was killed"
    assert same(lost, run(photos, tmp_path / "local", "local"))


@pytest.mark.matrix  # that shards of an encoder that ends go to others, several_nodes.py shows
def test_a_call_of_many_shards_keeps_its_loaders_and_gives_up_only_what_fails(tmp_path, caplog):
    photos, drawn = studies.pictures(40), tmp_path / "drawn"
    drawn.mkdir()

    def darker(image, seed):
        (drawn / str(os.getpid())).touch()
        return image // 2

    settings = {"shard_size": 1, "augmentations": {"darker": darker}, "concurrency": 1}
    lost = run(photos, tmp_path / "lost", "ray", FailsAndDies(tmp_path / "died"), **settings)
    loaders = {path.name for path in drawn.iterdir()}
    assert (tmp_path / "died").exists(), "nothing was killed"
    assert len(loaders) < 20, "40 shards"
    failed = [record.getMessage() for record in caplog.records if "attempt" in record.getMessage()]
    assert sum("the eighth" in line for line in failed) in (2, 3), failed
    assert sum("its encoder ended" in line for line in failed) == 1
    assert same(lost, run(photos, tmp_path / "local", "local", **settings))


@pytest.mark.matrix
def test_a_run_that_is_killed_as_a_whole_goes_on(photos, tmp_path):
    out = tmp_path / "study"
    folder = (
        "os.environ['PYTHONPATH'] += os.pathsep + sys.argv[3]; sys.path.append(sys.argv[3])"  # workers import it too
    )
    program = f"import os, sys; {folder}; import test_ray; test_ray.begin(*sys.argv[1:3])"
    process = command.start_python(program, photos, out, Path(__file__).parent)
    deadline = time.monotonic() + 120
    while len(parts(out)) < 2:
        assert process.poll() is None, process.communicate()[1][-2000:]
        assert time.monotonic() < deadline, "its third shard hangs, the two before are done and not written"
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    before = parts(out)
    assert len(before) == 2, "two shards are done and the third hangs"
    finished = run(photos, out, "local")
    assert parts(out).items() > before.items()
    assert same(finished, run(photos, tmp_path / "local", "local"))


def begin(photos, out):
    """The run that is killed: in a process, a group and a Ray of its own."""
    ray.init("local", num_cpus=1, log_to_driver=False, include_dashboard=False, logging_level="ERROR")
    run(photos, out, "ray", StopsAfter(4))


def parts(out):
    """Finished shards, each with what shows that it was not written again."""
    return {path.name: path.stat().st_mtime_ns for path in (out / "shards").glob("part-*.parquet")}


@pytest.mark.matrix
def test_a_shard_that_fails_for_good_is_named_and_the_others_are_kept(photos, tmp_path):
    source = open_source([str(photos)])
    order = [sample.image_id for sample in shuffle(source.samples, source, seed=0)[0]]
    white = next(name for name in order[2:4] if name != "3b.png")  # in the second shard
    Image.new("RGB", (40, 40), "white").save(photos / white)
    encoder = FailsOnWhite(tmp_path / "tries")
    with pytest.raises(
        EmbedshiftError, match=r"1 shards failed 3 times: 1 \(the encoder mean-colour failed .* white\)"
    ) as caught:
        run(photos, tmp_path / "study", "ray", encoder)
    assert caught.value.exit_code == 1
    assert (tmp_path / "tries").read_text() == "xxx"
    before = parts(tmp_path / "study")
    assert sorted(before) == ["part-00000.parquet", "part-00002.parquet", "part-00003.parquet"]
    # A later run does what is missing, and only that; the local engine goes on with Ray's shards.
    finished = run(photos, tmp_path / "study", "local")
    assert parts(tmp_path / "study").items() > before.items()
    assert same(finished, run(photos, tmp_path / "local", "local"))


@pytest.mark.matrix
def test_ray_goes_on_with_what_another_engine_began(photos, tmp_path):
    whole = run(photos, tmp_path / "whole", "local")
    begun = run(photos, tmp_path / "begun", "local")
    for part in ("part-00001.parquet", "part-00003.parquet"):
        (begun.folder / "shards" / part).unlink()
    assert same(run(photos, tmp_path / "begun", "ray"), whole)
    # So does a table that a finished study lacks.
    (begun.folder / "tables" / "claims.parquet").unlink()
    assert len(run(photos, tmp_path / "begun", "ray").claims())


class CannotBeLoaded(MeanColour):
    """Travels, and breaks on arrival."""

    def __reduce__(self):
        return _broken, ()


def _broken():
    raise OSError("no weights here")


@pytest.mark.matrix
def test_an_encoder_that_cannot_be_loaded_there_is_one_line(photos, tmp_path):
    with pytest.raises(EmbedshiftError, match=r"^on the node [\d.]+: OSError: no weights here$"):
        run(photos, tmp_path / "study", "ray", CannotBeLoaded())


def test_a_gpu_that_no_node_has_is_refused_at_once(photos, tmp_path):
    with pytest.raises(UsageError, match=r"^`num_gpus` 1: no node .*; its nodes have at most 2 cores and 0 GPUs$"):
        run(photos, tmp_path / "study", "ray", num_gpus=1)


@pytest.mark.matrix
def test_cores_that_other_work_has_are_named(photos, tmp_path, monkeypatch):
    holder = ray.remote(num_cpus=1)(Held).remote()
    ray.get(holder.__ray_ready__.remote())
    lines = []

    def said(words, *values):
        lines.append(words % values)
        ray.kill(holder)

    monkeypatch.setattr(engine, "PATIENCE", 0.5)
    monkeypatch.setattr(engine, "LOOK", 0.5)
    monkeypatch.setattr(engine.log, "warning", said)
    assert len(run(photos, tmp_path / "study", "ray").rows().select("image_id").unique().collect()) == 7
    assert lines == ["waiting for a node of the Ray cluster with 2 free cores: none is there, or other work has it"]


class Held:
    """Holds a core."""


@pytest.mark.parametrize("is_there", first_only([True, False]), ids=["a cluster", "its own"])
def test_ray_writes_nothing_to_stderr(is_there):
    text = "from embedshift.engines.ray import joined\nwith joined(): pass"
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    environment |= {"RAY_ADDRESS": ray.get_runtime_context().gcs_address} if is_there else {}
    arguments = [sys.executable, "-W", "ignore", "-c", text]
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_as_many_encoders_as_the_nodes_have_cores_or_gpus_for():
    assert engine._fit([{"Resources": {"CPU": cores}} for cores in (4.0, 8.0)], gpus=0, workers=3) == (4, 3)
    assert engine._fit([{"Resources": {"CPU": 16.0, "GPU": 8.0}}], gpus=1, workers=7) == (2, 8)
    assert engine._fit([{"Resources": {"memory": 1.0}}], gpus=0.5, workers=3) == (4, 1), "it scales from zero"


def test_without_ray_the_install_line_is_named(photos, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(EmbedshiftError, match=r"pip install 'embedshift\[ray\]'"):
        run(photos, tmp_path / "study", "ray")
