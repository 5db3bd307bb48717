"""What test_ray_nodes.py runs: two nodes, one cannot read the images; rows as the local engine's, or one line."""

import os
import sys
import time
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster

import embedshift
from embedshift import EmbedshiftError
from embedshift.encoders import EncoderOutput
from support.mean_colour import MeanColour
from support.models import pictures

SETTINGS = {"shard_size": 2, "batch_size": 10, "workers": 1}


class OnBothNodes(MeanColour):
    """Measures nothing on the first node before it is there on the one without the images, with the same weights."""

    kernels = ()

    def __init__(self, marker: Path, *, other_weights: bool = False) -> None:
        self.marker, self.other_weights, self.driver = marker, other_weights, os.getpid()

    def choose_kernels(self, *_sizes):
        pass

    def use_kernels(self, _kernels):
        if not Path("images").is_dir():
            self.marker.touch()

    def __call__(self, views):
        for _ in range(600 * (os.getpid() != self.driver)):
            if self.marker.exists():
                break
            time.sleep(0.1)
        output = super().__call__(views)
        if self.other_weights and not Path("images").is_dir():
            return EncoderOutput(output.embedding[:, ::-1], output.attention, output.attention_kind)
        return output


@pytest.fixture
def photos(tmp_path_factory):
    """Links to images in the working folder of a process, which only the first node has."""
    folder, there, elsewhere = (tmp_path_factory.mktemp(name) for name in ("photos", "there", "elsewhere"))
    for path in pictures(there / "images", 24).iterdir():
        (folder / path.name).symlink_to(f"/proc/self/cwd/images/{path.name}")
    for name in (__name__, MeanColour.__module__):
        ray.cloudpickle.register_pickle_by_value(sys.modules[name])  # their encoders travel whole
    os.chdir(there)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    os.chdir(elsewhere)
    cluster.add_node(num_cpus=1)
    os.chdir(there)
    ray.init(cluster.address, log_to_driver=False, logging_level="ERROR")
    yield folder
    ray.shutdown()
    cluster.shutdown()


def test_images_that_one_node_cannot_read_are_measured_on_the_other(photos, tmp_path, caplog):
    encoder = OnBothNodes(tmp_path / "marker")
    found = embedshift.run(photos, out=tmp_path / "ray", engine="ray", model=encoder, **SETTINGS)
    whole = embedshift.run(photos, out=tmp_path / "local", model=MeanColour(), **SETTINGS)
    assert found.info()["counts"]["measured"] == 24
    assert found.reader().measured_checksum() == whole.reader().measured_checksum()
    assert "shards without a readable image (first: picture-" in caplog.text


def test_images_that_no_node_can_read_are_failures(photos, tmp_path):
    broken = sorted(photos.iterdir())[0]
    broken.unlink()
    broken.symlink_to("/proc/self/cwd/images/none.png")
    settings = {**SETTINGS, "shard_size": 1}
    found, whole = (
        embedshift.run(photos, out=tmp_path / engine, engine=engine, model=MeanColour(), **settings)
        for engine in ("ray", "local")
    )
    assert found.failures().equals(whole.failures())
    assert found.rows().collect().equals(whole.rows().collect(), null_equal=True)


def test_other_weights_on_one_node_end_the_run_in_one_line(photos, tmp_path):
    encoder = OnBothNodes(tmp_path / "marker", other_weights=True)
    words = r"^on the node [\d.]+: mean-colour on \S+ gives other numbers than where the run began .*make them equal"
    with pytest.raises(EmbedshiftError, match=words) as caught:
        embedshift.run(photos, out=tmp_path / "study", engine="ray", model=encoder, **SETTINGS)
    assert caught.value.exit_code == 1
