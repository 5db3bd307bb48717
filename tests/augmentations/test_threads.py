"""A view depends on seed, image, augmentation and draw alone: not on threads, on processes, or on the processor.

`benchmarks/threads.py` draws a thousand views of each elastic augmentation, and measures the others.
"""

import numpy as np
import pytest
from skimage import data

from embedshift.sources import images
from support import kernels
from support.matrix import first_only

pytestmark = pytest.mark.slow

SIDE, ELASTIC = 224, 8
# Where OpenCV's or albumentations' own filters and interpolation differ between instruction sets, on these images: the
# most levels. In how many values they round otherwise is theirs, and differs between processors.
DIFFER = {
    "blur": 1, "color_jitter": 4, "shift_scale_rotate": 2, "perspective": 2,
    "stylization": 2, "smooth": 2, "pencil": 2, "pencil_colour": 2, "clahe": 2,
    "superpixels": 2, "defocus_blur@5": 1, "zoom_blur@5": 1, "motion_blur@5": 1,
    "gaussian_blur@5": 1, "glass_blur@5": 1, "elastic_transform@5": 1, "spatter@5": 1,
    "fog@5": 1, "color_jitter@5": 2, "hue@5": 1,
    "grey@5": 1, "elastic": 1, "elastic@5": 1, "shift_scale_rotate@5": 1,
    "shift_scale_rotate_black@5": 1, "rotation@5": 1, "rotation_black@5": 1, "crop@5": 1,
    "perspective@5": 1,
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
        assert apart.max() <= DIFFER.get(name, 0), name
