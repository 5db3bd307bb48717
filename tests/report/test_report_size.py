"""At most 4 MB whatever the number of images."""

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from embedshift.augmentations.paper import PAPER
from embedshift.questions.examples.section import extremes
from embedshift.sources import remember_roots
from embedshift.sources.images import pixels_hash
from embedshift.store.info import write_content
from support.revised import revise_shard
from support.synthetic import make_study

pytestmark = [pytest.mark.slow, pytest.mark.matrix]

LIMIT = 4_000_000


def as_if_measured(rows, shown):
    """The rows, with the hashes of the pixels that are shown."""
    column = rows.schema.get_field_index("pixels")
    pixels = [
        shown.get(name, old) if view == "original" else None
        for name, view, old in zip(*(rows[each].to_pylist() for each in ("image_id", "view", "pixels")), strict=True)
    ]
    return rows.set_column(column, rows.schema.field(column), pa.array(pixels, pa.string()))


def test_six_thousand_images_of_the_worst_kind(tmp_path):
    study = make_study(tmp_path / "study", 6_000, dim=4, grid=(2, 2), shard_size=2_000, with_tables=False)
    info = study.info()
    write_content(study.folder, info | {"encoder": info["encoder"] | {"size": 224}})
    (tmp_path / "study" / "pictures").mkdir()
    rng, shown = np.random.default_rng(0), dict[str, str]()
    for name in PAPER:
        for kind in extremes(study.rows(), name).values():
            for image_id in kind:  # noise is what WebP packs least
                picture = Image.fromarray(rng.integers(0, 256, (224, 224, 3), dtype=np.uint8))
                picture.save(tmp_path / "study" / "pictures" / image_id)
                shown[image_id] = pixels_hash(np.asarray(picture))
    for index in range(3):
        revise_shard(study.folder, index, lambda rows: as_if_measured(rows, shown))
    remember_roots(info["source"])
    path = study.report(formats=["svg"])
    assert path.stat().st_size <= LIMIT
    text = path.read_text()
    assert text.count('class="card"') >= 27
    assert text.count("data-picture=") == 6 * text.count('class="card"')  # four places, two of them with a layer
    assert "6,000 images" in text
