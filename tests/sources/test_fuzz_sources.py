"""Random damage to whatever is read: the right result or one line, never another exception, never a hang."""

import io
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedshift import EmbedshiftError
from embedshift.config.safe_files import read_yaml
from embedshift.sources import open_source, select
from embedshift.sources.base import read_caption
from embedshift.sources.images import decode
from support import fuzz
from support.archives import write_tar
from support.corpus import bases
from support.matrix import first_only

BASES = bases()
# Images that are read of a source.
LIMIT = 20
MEMBERS = [("a.png", b"one" * 300), ("a.txt", b"a cat"), ("b.png", b"two" * 300), ("b.json", b'{"caption": "x"}')]


@st.composite
def damaged(draw, whole):
    """Bytes with some of them altered, cut out, doubled or replaced."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        length = draw(st.integers(1, 64))
        what = draw(st.sampled_from(["flip", "cut out", "double", "zero", "write", "cut off"]))
        if what == "flip" and data:
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif what == "cut out":
            del data[at : at + length]
        elif what == "double":
            data[at:at] = data[at : at + length]
        elif what == "zero":
            data[at : at + length] = bytes(len(data[at : at + length]))
        elif what == "write":
            data[at : at + length] = draw(st.binary(min_size=1, max_size=8))
        elif draw(st.booleans()):
            del data[at:]
    return bytes(data)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


def all_of(path):
    """What a source reads of each of its samples, or None; only our errors and those of a file system may come."""
    with fuzz.within(60):
        try:
            source = open_source([str(path)])
            samples = select(source.samples, limit=LIMIT, sample=None, seed=0)
        except EmbedshiftError as error:
            assert "\n" not in str(error)  # noqa: PT017
            return None
        found = {}
        for sample in samples:
            try:
                found[sample.image_id] = source.read(sample)
            except (EmbedshiftError, OSError):
                found[sample.image_id] = None
        return found


@pytest.mark.slow
@pytest.mark.parametrize("name", first_only(BASES))
@fuzz.settings
@given(data=st.data())
def test_fuzz_pictures(name, data):
    given_bytes = data.draw(damaged(BASES[name]))
    with fuzz.within(60):
        try:
            found = decode(given_bytes)
        except EmbedshiftError as error:
            assert "\n" not in str(error)  # noqa: PT017
        else:
            assert found.dtype == np.uint8
            assert found.ndim == 3
            assert found.shape[2] == 3
            assert found.flags.c_contiguous


@pytest.mark.matrix
@fuzz.settings
@given(data=st.data())
def test_fuzz_tars(root, data):
    whole = write_tar(root / "whole.tar", MEMBERS).read_bytes()
    (root / "a.tar").write_bytes(data.draw(damaged(whole[: 9 * 512 + 1024])))
    assert len(all_of(root / "a.tar") or ()) <= LIMIT


@pytest.mark.matrix
@fuzz.settings
@given(st.integers(0, 9 * 512 - 1), st.integers(1, 255))
def test_fuzz_a_tar_loses_no_member_in_silence(root, at, change):
    data = bytearray(write_tar(root / "whole.tar", MEMBERS).read_bytes())
    data[at] ^= change
    (root / "a.tar").write_bytes(data)
    found = all_of(root / "a.tar")
    assert found is None or found.keys() == {"a.png", "b.png"}


@pytest.fixture(scope="module")
def parquet() -> bytes:
    buffer = io.BytesIO()
    table = {"image_id": ["a", "b", "c"], "caption": ["x", None, "z"], "jpg": [b"one" * 99, None, b"three" * 99]}
    pq.write_table(pa.table(table), buffer, row_group_size=2)
    return buffer.getvalue()


@pytest.mark.matrix
@fuzz.settings
@given(data=st.data())
def test_fuzz_parquets(root, parquet, data):
    (root / "a.parquet").write_bytes(data.draw(damaged(parquet)))
    assert len(all_of(root / "a.parquet") or ()) <= LIMIT


PLACES = b"a.png ./a.png .. / ~ a.tar memory://x/a.png file:///dev/zero list.txt :// a::b".split()
ENTRIES = st.one_of(st.binary(max_size=30), st.sampled_from(PLACES))


@pytest.mark.matrix
@fuzz.settings
@given(st.lists(ENTRIES, max_size=5))
def test_fuzz_lists(root, entries):
    folder = root / "lists"
    folder.mkdir(exist_ok=True)
    (folder / "a.png").write_bytes(b"a")
    names = {entry: os.path.join(os.fsencode(folder), entry.strip().replace(b"\0", b"")) for entry in entries}
    kept = [entry for entry in entries if not os.path.isdir(names[entry])]  # no walk through all of this machine
    (folder / "list.txt").write_bytes(b"\n".join(kept))
    assert len(all_of(folder / "list.txt") or ()) <= LIMIT


@pytest.mark.matrix
@fuzz.settings
@given(st.one_of(st.binary(max_size=200), st.text("{}[]:,-&*!|>?'\"#%@ \n\tab01.~", max_size=80).map(str.encode)))
def test_fuzz_yaml(root, data):
    (root / "a.yaml").write_bytes(data)
    with fuzz.within(60):
        try:
            read_yaml(root / "a.yaml")
        except EmbedshiftError as error:
            assert "\n" not in str(error)  # noqa: PT017


CAPTIONS = [b"[" * 99_999, b'{"caption": 1e999}', b'{"caption": "\\ud800"}', b"null", b"[1]"]
CONTENTS = st.one_of(st.binary(max_size=60), st.sampled_from(CAPTIONS))


@pytest.mark.matrix
@fuzz.settings
@given(st.dictionaries(st.sampled_from(["a.txt", "a.json", "b.JSON"]), CONTENTS))
def test_fuzz_captions(contents):
    for caption in (read_caption(name, content) for name, content in contents.items()):
        assert pa.array([caption]).to_pylist() == [caption], "it can be stored"
