"""Ray with an object store smaller than the study, and smaller than one shard: rows as the local engine's."""

import sys

import numpy as np
import pytest
import ray
from PIL import Image

import embedshift
from embedshift.encoders.base import EncoderOutput
from support.mean_colour import MeanColour

pytestmark = [pytest.mark.slow, pytest.mark.matrix]

STORE, IMAGES = 80 * 10**6, 60


class Wide(MeanColour):
    """Mean colours, over and over: 160 kB a view, 1.6 MB an image."""

    dim = 40_000

    def __call__(self, views):
        output = super().__call__(views)
        return EncoderOutput(np.resize(output.embedding.T, (self.dim, len(views))).T, output.attention, "mean")


@pytest.fixture(scope="module", autouse=True)
def cluster():
    for name in (__name__, MeanColour.__module__):
        ray.cloudpickle.register_pickle_by_value(sys.modules[name])
    options = {"log_to_driver": False, "include_dashboard": False, "logging_level": "ERROR"}
    ray.init("local", num_cpus=2, object_store_memory=STORE, **options)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for number in range(IMAGES):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(folder / f"{number:02}.png")
    return folder


@pytest.mark.parametrize("shard_size", [4, IMAGES])
def test_a_study_larger_than_the_object_store(shard_size, photos, tmp_path):
    settings = {"model": Wide(), "workers": 0, "batch_size": 40, "shard_size": shard_size}
    local, there = (embedshift.run(photos, out=tmp_path / name, engine=name, **settings) for name in ("local", "ray"))
    assert there.reader().measured_checksum() == local.reader().measured_checksum()
    assert sum(path.stat().st_size for path in (there.folder / "shards").iterdir()) > 0
    assert 4 * Wide.dim * len(there.rows().select("view").collect()) > STORE
    assert not there.verify().damaged
