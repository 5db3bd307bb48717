"""The two ways to bring a picture to the encoder's size, against the libraries whose ways they are."""

import albumentations as A
import numpy as np
import pytest
from skimage import data as skimage_data
from transformers import BitImageProcessorPil, CLIPImageProcessorPil

from embedshift import EmbedshiftError
from embedshift.sources.images import ToInput

RNG = np.random.default_rng(0)
SHAPES = [(300, 400), (400, 301), (224, 224), (10, 17), (1, 50)]


@pytest.mark.parametrize("shape", SHAPES)
def test_squash_equals_albumentations(shape):
    image = RNG.integers(0, 256, (*shape, 3), dtype=np.uint8)
    for size in (32, 224):
        np.testing.assert_array_equal(ToInput(size)(image), A.Resize(size, size)(image=image)["image"])


@pytest.mark.parametrize("processor", [CLIPImageProcessorPil, BitImageProcessorPil])
@pytest.mark.parametrize("shortest", [224, 256])
@pytest.mark.parametrize("shape", SHAPES)
def test_crop_equals_the_encoders_own_preprocessing(processor, shortest, shape):
    image = RNG.integers(0, 256, (*shape, 3), dtype=np.uint8)
    prepare = processor(
        size={"shortest_edge": shortest}, crop_size={"height": 224, "width": 224}, do_rescale=False, do_normalize=False
    )
    wanted = prepare(image, return_tensors="np", input_data_format="channels_last")["pixel_values"][0]
    found = ToInput(224, "crop", shortest=shortest, resample=int(prepare.resample))(image)
    np.testing.assert_array_equal(found, wanted.transpose(1, 2, 0))


def test_crop_with_another_filter():
    image = skimage_data.astronaut()[:200, :300]
    prepare = CLIPImageProcessorPil(resample=2, do_rescale=False, do_normalize=False)
    wanted = prepare(image, return_tensors="np", input_data_format="channels_last")["pixel_values"][0]
    np.testing.assert_array_equal(ToInput(224, "crop", resample=2)(image), wanted.transpose(1, 2, 0))
    assert (ToInput(224, "crop", resample=3)(image) != wanted.transpose(1, 2, 0)).any()


def test_crop_refuses_what_would_fill_the_memory():
    with pytest.raises(EmbedshiftError, match="squash"):
        ToInput(224, "crop")(np.zeros((1, 60_000, 3), np.uint8))
    assert ToInput(224)(np.zeros((1, 60_000, 3), np.uint8)).shape == (224, 224, 3)
