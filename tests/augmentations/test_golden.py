"""Views of every suite as they are stored: equal bytes where numbers are whole, eight levels where they are not."""

import hashlib
import importlib.util
from pathlib import Path

import numpy as np
import pytest

from embedshift.augmentations import load_suite

GOLDEN = Path(__file__).parent / "golden"
spec = importlib.util.spec_from_file_location("golden_make", GOLDEN / "make.py")
golden = importlib.util.module_from_spec(spec)
spec.loader.exec_module(golden)

# sha256 of a view of the made picture at 224 pixels, of a family of `strength` of all its levels: equal everywhere.
HASHES = {
    ("paper", "noise"): "46ea78e3a3853c19b4a819dd20651b533bea3e3669f9b97424d52af4b2a5b228",
    ("paper", "blur"): "d4d479fb908f950c1c0ebd5804b69755ed155000fcae200d477b82c6c7315ece",
    ("paper", "horizontal_flip"): "beb79dd78bb02c456fefc7fe11eb134d4c2c087a81ffc68634fa41cce252c8ed",
    ("paper", "brightness_contrast"): "b0e32abaccdf30cc9a75d62693ec52cc8425587614c0902c2f6dc2209163d5c9",
    ("paper", "coarse_dropout"): "6210073968ad7cafe365fd54064e1ed2a37bfbf2decd42fbedfa1a6d3b47c53b",
    ("strength", "noise"): "aa5fe9ce1e2acce8c8e795a5657eb35af2d6cc1b833aad50de50bdf10a94f0f5",
    ("strength", "blur"): "9742c387cd8aaa8628b931e1ff8aee96d1bb744af297303e934ba4b65eb09227",
    ("strength", "brightness_contrast"): "60654e438b12ca465c74d5f2cb051b46a2cc293adcec214bc8ec45199ef418f1",
    ("strength", "coarse_dropout"): "050a5dadf962622bebb33f207f8b7cf772c105d7710244921e6fbaf6b583b9cf",
    ("strength", "occlusion"): "3e8da36b6812c18fbe8b684b383c8d8b6a6b6d9341d543f0f8e539a1001c8e7a",
    ("strength", "gamma"): "48023e762f04b256dbd7f73d0fe2ef16fef209e81e91ac018bf99c1c7fd5f376",
    ("strength", "flip"): "beb79dd78bb02c456fefc7fe11eb134d4c2c087a81ffc68634fa41cce252c8ed",
    ("corruptions", "gaussian_noise@3"): "f877f27bb8b2441f256cdd97792c8a36e950a84ed5e87ae8ec2c8aa4551decab",
    ("corruptions", "impulse_noise@3"): "7afeca4a9129d2b6a278b2e67992f9977a3d767e2a2bb563f7ddb81a168d0ccc",
    ("corruptions", "speckle_noise@3"): "d9f37a88384a15672627a930f5a6446c4e6db6923a2b61a8e1f9b3eddafb2b6c",
    ("corruptions", "brightness@3"): "34dd0ef5f628464dd07716eb42a175b0ee4ea4018dba14f2e962f25622e6d0d1",
    ("corruptions", "contrast@3"): "33677d4ec9efb1044b199b0c82ee359c8426c7c0f20ad3cddb7ded23943f7a66",
    ("corruptions", "saturate@4"): "b511d50f37dc52b75ffd53739c3b2924025066b599c9f236dd4a29ea7a981f6c",
    ("corruptions", "pixelate@3"): "43c080112856db6df93a04b6195a5c1bf4e525e2a1b994421efb01e6be405ade",
    ("style", "posterize"): "f688d8cbb7c750f40ad474079bb23cb488ccaa51281fb14d5322065c682a86a3",
    ("style", "solarize"): "e49f51315cdeb2335a87661154273f0b7024ac4abe3f118e5cadda74ef85e9c6",
    ("style", "negative"): "e2c8286a008f1818d9dd4690b76d33ce4cb8b0b69699d9a6e63b43ca9c651d29",
}


def test_every_family_has_a_golden_view():
    for suite in ("paper", "strength", "corruptions"):
        names = [*golden.STORED[suite], *(name for given, name in HASHES if given == suite)]
        families = {name.split("@")[0] for name in load_suite(suite).names}
        assert {name.split("@")[0] for name in names} >= families, suite


# Suite → the part of a view that may differ by more: a flake, a drop or a patch at its threshold.
APART = {"paper": 0, "strength": 0, "corruptions": 0.002, "style": 0.001}
# Views that no seed changes, or hardly, or by a sign alone: another view is the same one turned.
SEEDLESS = (
    "zoom_out@3", "jpeg@3", "downscale@3", "grey@3", "color_jitter@3", "hue@3", "defocus_blur@3", "glass_blur@3",
    "zoom_blur@3", "jpeg_compression@3", "gaussian_blur@3", *golden.STORED["style"],
)  # fmt: skip


@pytest.mark.parametrize(("suite", "name"), HASHES)
def test_bytes_of_views_of_whole_numbers(suite, name):
    views = golden.views(suite, (name,), 224)
    found = [view for view_name, view in views.items() if view_name == name or view_name.startswith(f"{name}@")]
    assert hashlib.sha256(b"".join(view.tobytes() for view in found)).hexdigest() == HASHES[suite, name]


@pytest.mark.parametrize(("suite", "name"), [(suite, name) for suite, names in golden.STORED.items() for name in names])
def test_other_views_within_eight_levels(suite, name):
    stored = np.load(GOLDEN / f"{suite}.npz")[name].astype(int)
    view = golden.views(suite, golden.STORED[suite])[name]
    assert (np.abs(view - stored) > 8).mean() <= APART[suite]
    by_another_seed = golden.views(suite, golden.STORED[suite], image_id="other.png")[name]
    other = np.rot90(view) if name in SEEDLESS else by_another_seed
    assert (np.abs(other - stored) > 8).mean() > 0.1, "another view must not pass for this one"
