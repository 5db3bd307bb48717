"""Saved datasets: which local files they may open, and what is no dataset."""

import os
import sys

import datasets
import pytest

from embedshift import EmbedshiftError
from embedshift.errors import MissingExtra, UsageError
from embedshift.sources import open_source
from embedshift.sources.datasets import DatasetSource
from support import fuzz


@pytest.fixture
def saved(tmp_path):
    """A dataset as one may hand it on: its first image by a path, its second by its bytes."""
    (tmp_path / "secret.png").write_bytes(b"secret")
    cells = [{"bytes": None, "path": str(tmp_path / "secret.png")}, {"bytes": b"one", "path": None}]
    kinds = {"image": {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}}
    datasets.Dataset.from_dict({"image": cells}, features=datasets.Features(kinds)).save_to_disk(tmp_path / "saved")
    return tmp_path / "saved"


def test_a_path_in_a_dataset_is_never_opened(saved):
    source = open_source([str(saved)])
    with pytest.raises(EmbedshiftError, match="a path instead of bytes; paths are not opened"):
        source.read(source.samples[0])
    assert source.read(source.samples[1]) == b"one"
    assert source.block(source.samples[1]) is None


def test_a_fifo_in_a_dataset_is_not_waited_for(saved):
    (saved / "state.json").unlink()
    os.mkfifo(saved / "state.json")
    with fuzz.within(60), pytest.raises(UsageError, match=r"not a saved dataset \(state\.json: a FIFO, not a file\)"):
        DatasetSource([str(saved)])


def test_a_damaged_dataset_is_one_line(saved):
    (saved / "state.json").write_text("{")
    with pytest.raises(UsageError, match="not a saved dataset"):
        open_source([str(saved)])


def test_without_the_library_the_line_names_the_extra(saved, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtra, match=r"embedshift\[datasets\]"):
        open_source([str(saved)])
