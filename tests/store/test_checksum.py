"""The checksum of a shard: what it is over, and that no bit escapes it."""

import hashlib
import random
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from embedshift.errors import EmbedshiftError
from embedshift.store import checksum
from embedshift.store.checksum import Damaged, digests
from embedshift.store.labels import shards_hash
from embedshift.store.shards import SUMS_KEY, read_record, shard_path
from support.revised import revise_embeddings, revise_shard
from support.synthetic import make_study

NAMES = ["noise", "blur"]
# The file's checksum stands behind its key and two bytes.
DIGEST = re.compile(rb"embedshift\.checksum..([0-9a-f]{64})", re.DOTALL)


@pytest.fixture(scope="module")
def shard(tmp_path_factory) -> Path:
    return shard_path(make_study(tmp_path_factory.mktemp("made") / "study", 6, NAMES, with_tables=False).folder, 0)


@pytest.fixture
def copy(shard, tmp_path) -> Path:
    (tmp_path / "shards").mkdir()
    return Path(shutil.copy(shard, tmp_path / "shards"))


def test_a_checksum_is_that_of_the_file_with_zeros_in_its_place(shard):
    content = shard.read_bytes()
    (found,) = DIGEST.finditer(content)
    zeros = content[: found.start(1)] + b"0" * 64 + content[found.end(1) :]
    assert digests(shard).file == hashlib.sha256(zeros).hexdigest() == found[1].decode()


def test_the_second_is_that_of_the_rows_and_the_sums(shard):
    content = shard.read_bytes()
    footer = int.from_bytes(content[-8:-4], "little")
    rows = content[: -8 - footer]
    assert digests(shard).rows == hashlib.sha256(rows + pq.read_metadata(shard).metadata[SUMS_KEY]).hexdigest()


def test_any_parquet_reader_still_reads_it(shard):
    assert pq.read_metadata(shard).metadata[b"embedshift.checksum"].decode() == digests(shard).file
    assert pq.read_table(shard).num_rows == 18


def test_no_bit_can_change_unseen(copy):
    content, drawn = copy.read_bytes(), random.Random(0)
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    places = [drawn.randrange(footer) for _ in range(150)] + [drawn.randrange(footer, len(content)) for _ in range(250)]
    for place in [*places, *range(len(content) - 8, len(content))]:
        changed = bytearray(content)
        changed[place] ^= 1 << drawn.randrange(8)
        copy.write_bytes(changed)
        with pytest.raises(Damaged, match=r"part-00000\.parquet: damaged .*with `repair` to measure it"):
            digests(copy)


@pytest.mark.parametrize("cut", [0, 4, 7, 8, 100, 5_000, -1, -8])
def test_no_cut_is_unseen(cut, copy):
    copy.write_bytes(copy.read_bytes()[:cut])
    with pytest.raises(Damaged):
        digests(copy)


def test_nothing_can_be_added_unseen(copy):
    content = copy.read_bytes()
    for changed in (content + b"\0", b"\0" + content, content + content):
        copy.write_bytes(changed)
        with pytest.raises(Damaged):
            digests(copy)


def test_names_of_images_may_hold_what_looks_like_a_checksum(tmp_path):
    name = "\x18\x13embedshift.checksum\x18\x40" + "f" * 64 + ".png"
    path = shard_path(make_study(tmp_path / "study", [name, "b.png"], NAMES, with_tables=False).folder, 0)
    assert path.read_bytes().count(b"\x18\x13embedshift.checksum\x18\x40") > 1
    assert digests(path).file == pq.read_metadata(path).metadata[b"embedshift.checksum"].decode()


def test_two_runs_have_one_hash_of_their_shards(tmp_path):
    one, other = (make_study(tmp_path / name, 6, NAMES, shard_size=4).folder for name in "ab")
    revise_shard(other, 1, lambda rows: rows, seconds={"encode": 1234.5}, batch_size=77)
    assert digests(shard_path(one, 1)).file != digests(shard_path(other, 1)).file
    assert shards_hash(one) == shards_hash(other)


def test_other_rows_or_sums_have_another_hash(tmp_path):
    study = make_study(tmp_path / "study", 6, NAMES, shard_size=4)
    hashes = {shards_hash(study.folder)}
    revise_embeddings(study, lambda vectors: vectors + np.float32(1), shard=1)
    hashes.add(shards_hash(study.folder))
    revise_shard(study.folder, 0, lambda rows: rows.replace_schema_metadata(None))
    assert len(hashes | {shards_hash(study.folder)}) == 3


def test_a_shard_is_hashed_once_as_long_as_it_is_the_same(tmp_path, monkeypatch):
    study = make_study(tmp_path / "study", 6, NAMES, shard_size=4, with_tables=False)
    read = []
    monkeypatch.setattr("embedshift.store.shards.digests", lambda path: read.append(path.name) or digests(path))
    for _ in range(3):
        study.write_tables()
    assert sorted(read) == ["part-00000.parquet", "part-00001.parquet"]
    content = bytearray(shard_path(study.folder, 1).read_bytes())
    content[500] ^= 1
    shard_path(study.folder, 1).write_bytes(content)
    with pytest.raises(Damaged, match="part-00001"):
        study.rows()
    assert read.count("part-00001.parquet") == 2


def test_what_is_no_file_is_refused_without_waiting(tmp_path, shard):
    import os

    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("folder", "pipe", "none"):
        with pytest.raises(EmbedshiftError, match=f"{name}: cannot be read"):
            digests(tmp_path / name)
    (tmp_path / "link").symlink_to(shard)
    assert digests(tmp_path / "link") == digests(shard)


def test_a_disk_that_cannot_read_is_damage_and_a_file_of_somebody_else_is_none(copy, monkeypatch):
    for error, damaged in ((OSError(5, "Input/output error"), True), (PermissionError(13, "Permission denied"), False)):

        def fail(*_, error=error):
            raise error

        monkeypatch.setattr(checksum, "_footer", fail)
        with pytest.raises(EmbedshiftError, match=error.strerror) as caught:
            digests(copy)
        assert isinstance(caught.value, Damaged) is damaged


def test_a_record_that_says_too_little_is_damage(copy):
    from embedshift.store import shards

    content = shards.METADATA_KEY
    assert read_record(copy)[0].images == 6
    table = pq.read_table(copy).replace_schema_metadata({content: b'{"schema_version": 4, "index": 0}'})
    with pq.ParquetWriter(copy, table.schema) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata(checksum.PLACEHOLDERS)
    checksum.seal(copy, b"")
    with pytest.raises(Damaged, match="failures"):
        read_record(copy)
