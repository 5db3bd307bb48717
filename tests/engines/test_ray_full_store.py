"""Ray with an object store smaller than the study, and than one shard: rows as the local engine's."""

import sys

import pytest
import ray

import embedshift
from embedshift import EmbedshiftError
from embedshift.encoders.base import EncoderOutput
from support.mean_colour import MeanColour
from support.models import pictures

pytestmark = [pytest.mark.slow, pytest.mark.matrix]

# Ray takes no smaller one.
STORE, IMAGES = 80 * 10**6, 60


class Wide(MeanColour):
    """Mean colours, with the attention of a view in 160 kB: 1.6 MB an image."""

    grid = (200, 200)

    def __call__(self, views):
        output = super().__call__(views)
        return EncoderOutput(output.embedding, output.attention.repeat(50, axis=1).repeat(50, axis=2), "mean")


@pytest.fixture
def start():
    """Starts a Ray with this store, and more settings of Ray's own."""
    for name in (__name__, MeanColour.__module__):
        ray.cloudpickle.register_pickle_by_value(sys.modules[name])
    options = {"num_cpus": 2, "log_to_driver": False, "include_dashboard": False, "logging_level": "ERROR"}
    yield lambda **system: ray.init("local", object_store_memory=STORE, _system_config=system, **options)
    ray.shutdown()


def run(folder, engine, shard_size):
    photos = folder / "photos"
    if not photos.exists():
        pictures(photos, IMAGES, width=32, height=32)
    settings = {"model": Wide(), "workers": 0, "batch_size": 40, "shard_size": shard_size}
    return embedshift.run(photos, out=folder / engine, engine=engine, **settings)


@pytest.mark.parametrize("shard_size", [4, IMAGES])
def test_a_study_larger_than_the_object_store(shard_size, start, tmp_path):
    start()
    local, there = (run(tmp_path, engine, shard_size) for engine in ("local", "ray"))
    assert there.reader().measured_checksum() == local.reader().measured_checksum()
    assert 4 * 200 * 200 * len(there.rows().select("view").collect()) > STORE
    assert not there.verify().damaged


def test_without_a_disk_for_the_rest_it_ends_with_a_line_and_can_be_resumed(start, tmp_path):
    start(local_fs_capacity_threshold=0.001, automatic_object_spilling_enabled=False)
    with pytest.raises(EmbedshiftError, match=r"object store is full .*run the same command again to resume"):
        run(tmp_path, "ray", IMAGES)
    (tmp_path / "ray").rename(tmp_path / "local")
    assert run(tmp_path, "local", IMAGES).reader().info.counts.measured == IMAGES
