"""What test_ray_nodes.py runs: several nodes, which come, go or lack a folder; rows are local rows."""

import importlib
import os
import sys
import threading
import time
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster

import embedshift
from embedshift import EmbedshiftError
from embedshift.encoders import EncoderOutput
from embedshift.engines import ray as engine
from support.mean_colour import MeanColour
from support.synthetic import write_pictures  # needs no transformers, whose import takes seconds

SETTINGS = {"shard_size": 2, "batch_size": 10, "workers": 1}
# A folder in the working folder of a process, which only the first node has.
HERE = Path("/proc/self/cwd")
MODULE = """
import numpy as np

def embed(images):
    return np.stack([np.asarray(image.resize((4, 4)), np.float32).ravel() for image in images])
"""


class OnNodes(MeanColour):
    """In a worker, marks its node at every image; waits at the third until `nodes` have marks, and for ever on some."""

    kernels = ()

    def __init__(self, marks: Path, *, nodes: int, hangs_on: str = "", other_weights: bool = False) -> None:
        self.marks, self.nodes, self.hangs_on, self.other_weights = marks, nodes, hangs_on, other_weights
        self.driver, self.images = os.getpid(), 0
        marks.mkdir()

    def choose_kernels(self, *_sizes):
        pass

    def use_kernels(self, _kernels):
        if os.getpid() != self.driver:
            (self.marks / ray.get_runtime_context().get_node_id()).touch()

    def __call__(self, views):
        if os.getpid() != self.driver and len(views) == SETTINGS["batch_size"]:
            self.images += 1
            if self.images > 2 and ray.get_runtime_context().get_node_id() == self.hangs_on:
                time.sleep(600)
            deadline = time.monotonic() + 90
            while self.images > 2 and len([*self.marks.iterdir()]) < self.nodes and time.monotonic() < deadline:
                time.sleep(0.1)
        output = super().__call__(views)
        if self.other_weights and not (HERE / "images").is_dir():
            return EncoderOutput(output.embedding[:, ::-1], output.attention, output.attention_kind)
        return output


class Nodes(Cluster):
    """A cluster whose first node alone has the folder `images`, and the module `colours_there`."""

    def __init__(self, folders: Path, cores: int) -> None:
        self.there, self.elsewhere = folders / "there", folders / "elsewhere"
        self.photos = folders / "photos"
        for folder in (self.there, self.elsewhere, self.photos):
            folder.mkdir()
        write_pictures(self.there / "images", [f"picture-{number:02d}.png" for number in range(24)])
        for path in (self.there / "images").iterdir():
            (self.photos / path.name).symlink_to(HERE / "images" / path.name)
        os.chdir(self.there)
        # Without handlers of signals, for nodes join from a thread.
        head = {"num_cpus": cores, "include_dashboard": False}
        super().__init__(initialize_head=True, shutdown_at_exit=False, head_node_args=head)

    def add(self, folder: Path):
        os.chdir(folder)
        node = self.add_node(num_cpus=1)
        os.chdir(self.there)
        return node


@pytest.fixture
def nodes(tmp_path, monkeypatch, request):
    for name in (__name__, MeanColour.__module__):
        ray.cloudpickle.register_pickle_by_value(sys.modules[name])  # their encoders travel whole
    cluster = Nodes(tmp_path, getattr(request, "param", 1))
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    monkeypatch.setattr(engine, "LOOK", 0.5)
    yield cluster
    cluster.shutdown()


def run(nodes, out, encoder=None, *, engine="ray", **settings):
    given = {**SETTINGS, "model": MeanColour() if encoder is None else encoder, **settings}
    return embedshift.run(nodes.photos, out=out, engine=engine, **given)


def same(nodes, found, **settings):
    whole = run(nodes, found.folder.with_name("local"), engine="local", **settings)
    assert found.info()["counts"] == whole.info()["counts"]
    return found.reader().measured_checksum() == whole.reader().measured_checksum()


def later(condition, work):
    """Does some work in a thread, when a condition has become true."""

    def wait():
        while not condition():
            time.sleep(0.1)
        work()

    threading.Thread(target=wait, daemon=True).start()


def test_nodes_join_die_and_lack_images_and_each_shard_is_measured_by_another(nodes, tmp_path, caplog):
    """The first node is there all the time; one without images joins, and then one dies within a shard."""
    marks, lost = tmp_path / "marks", nodes.add(nodes.there)
    encoder = OnNodes(marks, nodes=3, hangs_on=lost.node_id)

    def change():
        nodes.add(nodes.elsewhere)
        later(lambda: len([*marks.iterdir()]) == 3, lambda: nodes.remove_node(lost, allow_graceful=False))

    later(lambda: (marks / lost.node_id).exists(), change)
    found = run(nodes, tmp_path / "ray", encoder)
    assert len([*marks.iterdir()]) == 3, "the node that joined took shards"
    assert "a node read no image of shard" in caplog.text
    assert caplog.text.count("its encoder ended") == 1
    assert same(nodes, found)


def test_a_node_that_joins_takes_shards(nodes, tmp_path):
    marks = tmp_path / "marks"
    encoder = OnNodes(marks, nodes=2)
    later(lambda: [*marks.iterdir()], lambda: nodes.add(nodes.there))
    found = run(nodes, tmp_path / "ray", encoder)
    assert len([*marks.iterdir()]) == 2
    assert same(nodes, found)


def test_shards_of_a_node_that_dies_are_measured_by_others(nodes, tmp_path, caplog):
    marks, lost = tmp_path / "marks", nodes.add(nodes.there)
    nodes.add(nodes.there)
    encoder = OnNodes(marks, nodes=3, hangs_on=lost.node_id)
    later(lambda: (marks / lost.node_id).exists(), lambda: nodes.remove_node(lost, allow_graceful=False))
    assert same(nodes, run(nodes, tmp_path / "ray", encoder))
    assert caplog.text.count("its encoder ended") == 1


@pytest.mark.parametrize("nodes", [0], indirect=True)
def test_a_cluster_without_nodes_is_waited_for(nodes, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(engine, "PATIENCE", 1.0)
    words = "waiting for a node of the Ray cluster with 1 free cores"
    later(lambda: words in caplog.text, lambda: nodes.add(nodes.there))
    assert same(nodes, run(nodes, tmp_path / "ray"))
    assert caplog.text.count("waiting for a node") == 1


def test_images_that_one_node_cannot_read_are_measured_on_the_other(nodes, tmp_path, caplog):
    nodes.add(nodes.elsewhere)
    assert same(nodes, run(nodes, tmp_path / "ray", OnNodes(tmp_path / "marks", nodes=2)))
    assert "a node read no image of shard" in caplog.text


def test_images_that_no_node_can_read_are_failures(nodes, tmp_path):
    nodes.add(nodes.elsewhere)
    broken = sorted(nodes.photos.iterdir())[0]
    broken.unlink()
    broken.symlink_to("/proc/self/cwd/images/none.png")
    found = run(nodes, tmp_path / "ray", shard_size=1)
    assert same(nodes, found, shard_size=1)
    assert found.failures()["image_id"].to_list() == [broken.name]


@pytest.mark.parametrize("nodes", [0], indirect=True)
def test_images_that_the_only_free_node_cannot_read_are_failures_in_the_end(nodes, tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "PATIENCE", 2.0)
    nodes.add(nodes.elsewhere)
    ray.init(nodes.address, log_to_driver=False, logging_level="ERROR")
    there = nodes.add(nodes.there).node_id
    holder = ray.remote(num_cpus=1, label_selector={engine.NODE: there})(Held).remote()
    ray.get(holder.__ray_ready__.remote())
    try:
        with pytest.raises(EmbedshiftError, match=r"^no image could be measured: all 24 failed, first .*No such file"):
            run(nodes, tmp_path / "ray")
    finally:
        ray.shutdown()


class Held:
    """Holds a core."""


def test_other_weights_on_one_node_end_the_run_in_one_line(nodes, tmp_path):
    nodes.add(nodes.elsewhere)
    encoder = OnNodes(tmp_path / "marks", nodes=2, other_weights=True)
    words = r"^on the node [\d.]+: mean-colour on \S+ gives other numbers than where the run began .*make them equal"
    with pytest.raises(EmbedshiftError, match=words) as caught:
        run(nodes, tmp_path / "study", encoder)
    assert caught.value.exit_code == 1


@pytest.mark.parametrize("nodes", [0], indirect=True)
def test_a_module_of_the_settings_travels_to_a_node_without_it(nodes, tmp_path, monkeypatch):
    nodes.add(nodes.elsewhere)
    (nodes.elsewhere / "images").symlink_to(nodes.there / "images")
    (nodes.there / "own").mkdir()
    (nodes.there / "own" / "colours_there.py").write_text(MODULE)
    monkeypatch.syspath_prepend(HERE / "own")
    importlib.invalidate_caches()
    settings = {"encoder": "python:colours_there:embed", "size": 32}
    assert same(nodes, run(nodes, tmp_path / "ray", **settings), **settings)


def test_a_head_that_is_gone_ends_the_run_in_one_line(nodes, tmp_path):
    marks = tmp_path / "marks"
    encoder = OnNodes(marks, nodes=2)
    later(lambda: [*marks.iterdir()], nodes.head_node.kill_gcs_server)
    with pytest.raises(EmbedshiftError, match=r"^the head of the Ray cluster is gone; run the same command again"):
        run(nodes, tmp_path / "study", encoder)
