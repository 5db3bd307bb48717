"""Small cases worked by hand."""

import numpy as np

from embedshift.augmentations import corruptions as corruptions_module
from embedshift.augmentations.augmentation import Choice
from embedshift.augmentations.changes import Change
from support.examples import fits


def test_corruptions_corruptions():
    names = [each.name for each in corruptions_module.corruptions(Choice())]
    assert (len(names), names[0], names[-1]) == (70, "gaussian_noise@1", "jpeg_compression@5")
    assert [each.name for each in corruptions_module.corruptions(Choice(families=("spatter",)))][:2] == [
        "spatter@1",
        "spatter@2",
    ]


def test_standard_corruption():
    assert [each.name for each in corruptions_module.corruption("haze", Change()).augmentations()][-1] == "haze@5"


def test_standard_at():
    assert corruptions_module.at(2, 0.08, 0.12, 0.18, 0.26, 0.38) == 0.12


def test_standard_to_pixels():
    assert corruptions_module.to_pixels(np.array([-3.0, 7.9, 300.0])).tolist() == [0, 7, 255]


def test_standard_stretch():
    assert fits("(0.49775..., 56)", repr(corruptions_module.enlargement(224, 2.0)))


def test_standard_streak():
    kernel, anchor = corruptions_module.motion_kernel(1, 2.0, 90.0)
    assert (kernel.shape, anchor, bool(kernel[0, 0] > kernel[2, 0])) == ((3, 1), (0, 0), True)
