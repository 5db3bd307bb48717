"""At most 10 MB whatever the number of images."""

import json

import numpy as np
from PIL import Image

from embedshift.augmentations.paper import PAPER
from embedshift.questions.moved.extremes import extremes
from support.synthetic import make_study

LIMIT = 10_000_000


def test_six_thousand_images_of_the_worst_kind(tmp_path):
    study = make_study(tmp_path / "study", 6_000, dim=4, grid=(2, 2), shard_size=2_000, with_tables=False)
    info = study.info()
    (study.folder / "study.json").write_text(json.dumps(info | {"encoder": info["encoder"] | {"size": 224}}))
    (tmp_path / "study" / "pictures").mkdir()
    rng = np.random.default_rng(0)
    for name in PAPER:
        for kind in extremes(study.rows(), name).values():
            for image_id in kind:  # noise is what WebP packs least
                picture = Image.fromarray(rng.integers(0, 256, (224, 224, 3), dtype=np.uint8))
                picture.save(tmp_path / "study" / "pictures" / image_id)
    path = study.report(formats=["svg"])
    assert path.stat().st_size <= LIMIT
    text = path.read_text()
    assert text.count('class="card"') >= 27
    assert text.count("data-picture=") == 6 * text.count('class="card"')  # four places, two of them with a layer
    assert "6,000 images" in text
