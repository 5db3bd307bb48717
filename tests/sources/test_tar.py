"""Tars: what stands behind damage is not lost in silence; links, holes and headers that lie."""

import io
import tarfile

import fsspec
import numpy as np
import pytest

from embedshift import EmbedshiftError
from embedshift.errors import UsageError
from embedshift.sources import open_source, tar
from support.archives import write_tar

NAMES = [f"{letter}.png" for letter in "abcdef"]
MEMBERS = [(name, bytes([97 + number]) * (700 + number)) for number, name in enumerate(NAMES)]
BLOCK = tarfile.BLOCKSIZE


@pytest.fixture
def whole(tmp_path):
    return write_tar(tmp_path / "whole.tar", MEMBERS).read_bytes()


def opened(tmp_path, data):
    (tmp_path / "a.tar").write_bytes(data)
    return open_source([str(tmp_path / "a.tar")])


def header_of(data, name):
    """Place of a member's header."""
    return data.index(name.encode() + bytes(90))


def test_a_whole_tar_gives_every_member(whole, tmp_path):
    source = opened(tmp_path, whole)
    assert [(sample.image_id, source.read(sample)) for sample in source.samples] == MEMBERS


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("byte", [3, 110, 130, 150])
def test_a_damaged_header_is_refused_by_name(whole, tmp_path, name, byte):
    at = header_of(whole, name)
    damaged = whole[: at + byte] + bytes([whole[at + byte] ^ 0x15]) + whole[at + byte + 1 :]
    with pytest.raises(UsageError, match=r"a\.tar: (damaged|not a tar)") as caught:
        opened(tmp_path, damaged)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("name", NAMES[1:])
def test_a_zero_block_in_the_middle_is_refused(whole, tmp_path, name):
    at = header_of(whole, name)
    for zeros in (whole[:at] + bytes(BLOCK) + whole[at:], whole[:at] + bytes(BLOCK) + whole[at + BLOCK :]):
        with pytest.raises(UsageError, match=rf"a\.tar: damaged or ends early at byte {at:,}: no header"):
            opened(tmp_path, zeros)


@pytest.mark.parametrize("name", NAMES[1:])
def test_a_cut_between_members_is_refused(whole, tmp_path, name):
    at = header_of(whole, name)
    for cut in (whole[:at], whole[: at + 200], whole[:at] + bytes(BLOCK), whole[: at - 100]):
        with pytest.raises(UsageError, match=r"a\.tar: .*ends early"):
            opened(tmp_path, cut)


def test_the_end_is_two_blocks_of_zeros_or_more(whole, tmp_path):
    end = len(whole.rstrip(b"\0"))
    end += -end % BLOCK
    assert len(opened(tmp_path, whole[: end + 2 * BLOCK]).samples) == len(NAMES)
    assert len(opened(tmp_path, whole + bytes(3_000_000)).samples) == len(NAMES)
    with pytest.raises(UsageError, match="damaged or ends early at byte"):
        opened(tmp_path, whole + bytes(3_000_000) + b"x")


def test_zeros_without_end_are_not_read(whole, tmp_path, monkeypatch):
    monkeypatch.setattr(tar, "_MOST_END", 200_000)
    with pytest.raises(UsageError, match="MB of zeros behind its last member"):
        opened(tmp_path, whole + bytes(10_000_000))


def test_the_end_of_a_far_tar_is_looked_at_too(whole):
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    at = header_of(whole, NAMES[3])
    memory.pipe("/bucket/a.tar", whole)
    memory.pipe("/bucket/cut.tar", whole[:at])
    assert len(open_source(["memory://bucket/a.tar"]).samples) == len(NAMES)
    with pytest.raises(UsageError, match="ends early"):
        open_source(["memory://bucket/cut.tar"])


def sized(name, size):
    """A header that says a size, in the binary form where it has too many digits."""
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("size", [2**63, 2**70, 2**40, -1, -512, -(2**40)])
def test_sizes_that_no_file_has_are_one_line(whole, tmp_path, size):
    data = whole[: header_of(whole, NAMES[1])] + sized("big.png", size) + whole[header_of(whole, NAMES[1]) :]
    with pytest.raises(UsageError, match=r"a\.tar: damaged"):
        opened(tmp_path, data)


def added(tmp_path, *infos):
    """A tar of the members and of entries of other kinds."""
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as made:
        for name, data in MEMBERS:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            made.addfile(info, io.BytesIO(data))
        for name, kind, target in infos:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            made.addfile(info)
    return open_source([str(path)])


def test_links_are_what_they_point_to_or_a_failure(tmp_path):
    source = added(
        tmp_path,
        ("hard.png", tarfile.LNKTYPE, "a.png"),
        ("deep/soft.png", tarfile.SYMTYPE, "../b.png"),
        ("gone.png", tarfile.SYMTYPE, "nowhere.png"),
        ("out.png", tarfile.SYMTYPE, "/etc/passwd"),
        ("up.jpg", tarfile.SYMTYPE, "../../a.png"),
        ("chain.png", tarfile.LNKTYPE, "hard.png"),
        ("pipe.png", tarfile.FIFOTYPE, ""),
        ("caption.txt", tarfile.SYMTYPE, "a.png"),
        ("folder.png", tarfile.DIRTYPE, ""),
    )
    samples = {sample.image_id: sample for sample in source.samples}
    assert samples.keys() == {
        *NAMES,
        "hard.png",
        "deep/soft.png",
        "gone.png",
        "out.png",
        "up.jpg",
        "chain.png",
        "pipe.png",
    }
    assert source.read(samples["hard.png"]) == dict(MEMBERS)["a.png"]
    assert source.read(samples["deep/soft.png"]) == dict(MEMBERS)["b.png"]
    problems = {name: sample.problem for name, sample in samples.items() if sample.problem}
    assert problems == {
        "gone.png": "a link to nowhere.png, which is not a file in the archive",
        "out.png": "a link to /etc/passwd, which is not a file in the archive",
        "up.jpg": "a link to ../../a.png, which is not a file in the archive",
        "chain.png": "a link to hard.png, which is not a file in the archive",
        "pipe.png": "a device or a FIFO in the archive, not a file",
    }
    assert source.skipped == {".txt": 1}


def test_links_in_a_far_tar_are_read_from_their_targets_block(tmp_path, monkeypatch):
    monkeypatch.setattr(tar, "MEMBERS", 2)
    added(tmp_path, ("hard.png", tarfile.LNKTYPE, "a.png"))
    memory = fsspec.filesystem("memory")
    memory.pipe("/bucket/links.tar", (tmp_path / "a.tar").read_bytes())
    source = open_source(["memory://bucket/links.tar"])
    blocks = {sample.image_id: source.block(sample) for sample in source.samples}
    assert blocks["hard.png"] == blocks["a.png"] != blocks["f.png"]


def test_a_file_with_holes_is_a_failure_in_right_words(tmp_path):
    header = bytearray(sized("sparse.png", BLOCK))
    header[156:157] = b"S"
    header[386:410] = b"00000000000\0" + b"00000001000\0"  # one part: where, and how long
    header[483:495] = b"00000010000\0"  # its real size
    header[148:156] = b"        "
    header[148:156] = b"%06o\0 " % sum(header)
    whole = write_tar(tmp_path / "whole.tar", MEMBERS).read_bytes()
    source = opened(tmp_path, bytes(header) + bytes(BLOCK) + whole)
    assert [s.problem for s in source.samples if s.image_id == "sparse.png"] == [
        "a sparse file in a tar cannot be read in place: pack it without holes"
    ]
    assert sum(s.problem is None for s in source.samples) == len(NAMES)


def test_a_member_above_the_bound_is_a_failure_and_a_long_text_no_caption(tmp_path, monkeypatch):
    monkeypatch.setattr(tar, "IMAGE_BYTES", 702)
    monkeypatch.setattr(tar, "TEXT_BYTES", 10)
    texts = [("a.txt", b"short"), ("b.txt", b"a longer text")]
    source = open_source([str(write_tar(tmp_path / "a.tar", [*MEMBERS, *texts]))])
    assert [s.problem for s in source.samples] == [None] * 3 + [
        f"larger than 702 bytes ({n} bytes)" for n in (703, 704, 705)
    ]
    assert [s.caption for s in source.samples][:2] == ["short", None]
    assert source.skipped == {".txt": 1}


def test_a_tar_that_shrinks_after_it_was_listed_is_a_failure(whole, tmp_path):
    source = opened(tmp_path, whole)
    (tmp_path / "a.tar").write_bytes(whole[:900])
    with pytest.raises(EmbedshiftError, match="ends early"):
        source.read(source.samples[0])


def test_an_empty_tar_has_no_image(tmp_path):
    assert opened(tmp_path, bytes(10_240)).samples == []
    with pytest.raises(UsageError, match="not a tar"):
        opened(tmp_path, b"")


def test_names_may_be_anything(tmp_path):
    rng = np.random.default_rng(0)
    names = ["caf\udce9.png", "n" * 300 + ".png", "two\nlines.png", "/abs.png"]
    write_tar(tmp_path / "a.tar", [(name, rng.bytes(9)) for name in names])
    assert [s.image_id for s in open_source([str(tmp_path / "a.tar")]).samples] == names
