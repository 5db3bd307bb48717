"""The images that tell steps apart: what their files hold, by Pillow."""

import io

from PIL import Image

from embedshift.sources.demo import demo_photos
from embedshift.sources.images import decode
from embedshift.stacks.images import probe_images, varied


def test_the_files_differ_in_what_decoders_treat_differently():
    files = probe_images()
    images = {name: Image.open(io.BytesIO(data)) for name, data in files.items()}
    assert [*files][:8] == [*demo_photos()]
    assert images["turned.jpg"].getexif()[0x0112] == 6
    assert decode(files["turned.jpg"]).shape[:2] == images["turned.jpg"].size
    assert {name: images[name].mode for name in ("grey.jpg", "alpha.png", "cmyk.jpg")} == {
        "grey.jpg": "L", "alpha.png": "RGBA", "cmyk.jpg": "CMYK",
    }  # fmt: skip
    assert images["alpha.png"].getchannel("A").getextrema() == (0, 255)
    assert (files["sixteen.png"][24], images["sixteen.png"].format) == (16, "PNG")  # bits of a channel in the header
    assert [side % 2 for side in images["odd.jpg"].size] == [1, 1]
    assert {images[f"control-{number}.png"].size for number in (1, 2)} == {(224, 224)}
    assert sum(map(len, files.values())) < 5e6
    assert probe_images() == files


def test_a_search_has_one_file_of_each_kind_first():
    files = probe_images()
    names = [*files]
    plain = [files["china.jpg"]] * 20 + [files[name] for name in ("turned.jpg", "alpha.png", "sixteen.png", "grey.jpg")]
    assert varied(plain, 6) == [0, 1, 20, 21, 22, 23]
    assert varied([*files.values()], len(names)) == [*range(len(names))]
