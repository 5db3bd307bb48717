"""Rows as pandas and as Hugging Face datasets, held to the rows themselves."""

import logging
import sys

import numpy as np
import polars as pl
import pytest
from PIL import Image

from embedshift.errors import EmbedshiftError, MissingExtra
from support.synthetic import make_study


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return make_study(
        tmp_path_factory.mktemp("frames") / "study", 4, ["noise", "blur"], draws=2, with_pictures=True, layers=3
    )


@pytest.mark.slow
def test_pandas_has_every_number_of_every_row(study):
    frame, rows = study.to_pandas(), study.rows().collect()
    assert len(frame) == len(rows) == 4 * (1 + 2 * 2)
    flat = [name for name, kind in rows.schema.items() if not isinstance(kind, pl.List | pl.Array) and name != "pixels"]
    assert list(frame.columns) == flat
    assert list(frame["image_id"]) == rows["image_id"].to_list()
    for metric in study.metrics:
        np.testing.assert_array_equal(frame[metric].to_numpy(), rows[metric].fill_null(np.nan).to_numpy())
        assert frame[metric].dtype == np.float64
    assert frame.loc[frame["view"] == "original", "cosine_similarity"].isna().all()

    frame = study.to_pandas(embeddings=True)
    assert frame["embedding"][3].dtype == np.float32
    np.testing.assert_array_equal(np.stack(frame["embedding"]), np.array(rows["embedding"].to_list(), np.float32))


def test_without_its_library_there_is_one_line(study, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(EmbedshiftError, match=r"^to_pandas needs pandas: pip install pandas$"):
        study.to_pandas()
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtra, match="to_datasets needs the extra 'datasets'"):
        study.to_datasets()


def test_datasets_has_the_rows_with_their_images(study, tmp_path):
    import datasets

    found, rows = study.to_datasets(), study.rows().collect()
    assert found.num_rows == len(rows)
    assert found["view"][:] == rows["view"].to_list()
    assert found.features["image"] == datasets.Image()
    assert found.features["image_id"] == datasets.Value("string")
    assert found.features["cosine_similarity"] == datasets.Value("float64")
    assert found.with_format("numpy")[5]["embedding"].dtype == np.float32
    np.testing.assert_array_equal(np.array(found["embedding"][:], np.float32), np.array(rows["embedding"].to_list()))
    for place in (0, 7):
        path = study.folder / "pictures" / found[place]["image_id"]
        np.testing.assert_array_equal(np.asarray(found[place]["image"]), np.asarray(Image.open(path)))
    found.save_to_disk(tmp_path / "saved")
    assert datasets.load_from_disk(tmp_path / "saved")[4]["image"].size == (40, 32)
    assert not {"image", "embedding"} & set(study.to_datasets(images=False, embeddings=False).column_names)


def test_no_file_is_named_that_no_run_of_this_user_has_read(study, tmp_path, monkeypatch):
    """A dataset may be pushed to the Hub: a study from somebody else must not put any file of this machine into it."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert study.to_datasets()["image"][:] == [None] * 20
    root = study.folder / "pictures"
    assert None not in study.to_datasets(images_root=root)["image"][:]


def test_an_image_that_is_gone_or_lies_outside_the_root_is_none_and_counted(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    study = make_study(tmp_path / "study", ["../secret.png", "a.png", "gone.png"], ["noise"], with_pictures=True)
    assert (tmp_path / "study" / "secret.png").is_file()
    (tmp_path / "study" / "pictures" / "gone.png").unlink()
    found = study.to_datasets()
    is_none = {name: image is None for name, image in zip(found["image_id"][:], found["image"][:], strict=True)}
    assert is_none == {"../secret.png": True, "a.png": False, "gone.png": True}
    assert caplog.messages[0].startswith("2 images have no file in the dataset (first: ../secret.png: ")
