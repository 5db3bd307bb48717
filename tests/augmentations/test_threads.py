"""A view depends on seed, image, augmentation and draw alone: not on threads, on processes, or on the processor.

`benchmarks/threads.py` draws a thousand views of each elastic augmentation, and measures the others.
"""

import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from skimage import data

from embedshift.sources import images
from support import kernels
from support.matrix import first_only

pytestmark = pytest.mark.slow

SIDE, ELASTIC = 224, 8
# Where OpenCV's or albumentations' own filters and interpolation differ between instruction sets, on these images: the
# most levels, and the most of a million values.
DIFFER = {
    "blur": (1, 30), "color_jitter": (4, 1500), "shift_scale_rotate": (2, 300), "perspective": (2, 300),
    "stylization": (2, 300), "smooth": (2, 300), "pencil": (2, 300), "pencil_colour": (2, 300), "clahe": (2, 300),
    "superpixels": (2, 300), "defocus_blur@5": (1, 100), "zoom_blur@5": (1, 100), "motion_blur@5": (1, 100),
    "gaussian_blur@5": (1, 100), "glass_blur@5": (1, 100), "elastic_transform@5": (1, 100), "spatter@5": (1, 100),
    "fog@5": (1, 100), "color_jitter@5": (2, 300), "hue@5": (1, 300),
    "grey@5": (1, 2000), "elastic": (1, 30), "elastic@5": (1, 100), "shift_scale_rotate@5": (1, 300),
    "shift_scale_rotate_black@5": (1, 300), "rotation@5": (1, 300), "rotation_black@5": (1, 300), "crop@5": (1, 300),
    "perspective@5": (1, 300),
}  # fmt: skip


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    file = tmp_path_factory.mktemp("originals") / "originals.npy"
    photos = (data.astronaut(), data.coffee(), data.chelsea(), data.rocket())
    np.save(file, np.stack([images.ToInput(SIDE)(photo) for photo in photos]))
    return file


@pytest.fixture(scope="module")
def drawn(originals, tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    return lambda threads, limits: kernels.draw_limited(originals, ELASTIC, 1, threads, limits, folder / "views.npz")


@pytest.fixture(scope="module")
def unlimited(drawn):
    return drawn(1, {})


@pytest.mark.parametrize("limit", first_only(["none", "OpenBLAS for Haswell"]))
def test_views_do_not_depend_on_threads(limit, drawn, unlimited):
    limits = kernels.LIMITS.get(limit, {})
    for name, views in drawn(2, limits).items():
        np.testing.assert_array_equal(views, unlimited[name], err_msg=name)


def test_views_do_not_depend_on_the_instruction_set_where_the_code_is_ours(drawn, unlimited):
    for name, views in drawn(1, kernels.LIMITS["all at their least"]).items():
        apart = np.abs(views.astype(float) - unlimited[name])
        levels, of_a_million = DIFFER.get(name, (0, 0))
        assert apart.max() <= levels, name
        assert (apart > 0).mean() * 1e6 <= of_a_million, name


# Run in a process of its own, since a library chooses its instructions when it is loaded.
STUDY = """
import sys

from threadpoolctl import threadpool_limits

import embedshift
from embedshift.augmentations import load_suite
from support.mean_colour import MeanColour


class Large(MeanColour):
    size = 224

    def __call__(self, views):
        return super().__call__(views[:, ::7, ::7])


elastic = {"elastic": load_suite("paper")["elastic"].transform}
with threadpool_limits(2, "blas"):
    embedshift.run(
        sys.argv[1], out=sys.argv[2], model=Large(), augmentations=elastic, draws=16, workers=int(sys.argv[3])
    )
"""


@pytest.mark.matrix
def test_rows_of_loaders_are_those_of_the_process_itself(originals, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for number, pixels in enumerate(np.load(originals)):
        Image.fromarray(pixels).save(photos / f"{number}.png")
    rows = []
    for workers in (0, 2):
        out = tmp_path / f"workers-{workers}"
        subprocess.run(
            [sys.executable, "-c", STUDY, photos, out, str(workers)],
            env=kernels.environment(kernels.LIMITS["OpenBLAS for Haswell"]), capture_output=True, check=True,
        )  # fmt: skip
        rows.append(pq.read_table(next((out / "shards").glob("*.parquet"))))
    assert rows[0].num_rows == rows[1].num_rows > ELASTIC
    assert rows[0].equals(rows[1])
