"""Ray with an object store smaller than the study, and than one shard: rows as the local engine's."""

import sys

import pytest
import ray

import embedshift
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


@pytest.fixture(scope="module", autouse=True)
def cluster():
    for name in (__name__, MeanColour.__module__):
        ray.cloudpickle.register_pickle_by_value(sys.modules[name])
    options = {"log_to_driver": False, "include_dashboard": False, "logging_level": "ERROR"}
    ray.init("local", num_cpus=2, object_store_memory=STORE, **options)
    yield
    ray.shutdown()


@pytest.mark.parametrize("shard_size", [4, IMAGES])
def test_a_study_larger_than_the_object_store(shard_size, tmp_path):
    photos = pictures(tmp_path / "photos", IMAGES, width=32, height=32)
    settings = {"model": Wide(), "workers": 0, "batch_size": 40, "shard_size": shard_size}
    local, there = (embedshift.run(photos, out=tmp_path / name, engine=name, **settings) for name in ("local", "ray"))
    assert there.reader().measured_checksum() == local.reader().measured_checksum()
    assert 4 * 200 * 200 * len(there.rows().select("view").collect()) > STORE
    assert not there.verify().damaged
