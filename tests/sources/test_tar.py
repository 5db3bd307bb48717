"""Tars: no member is lost in silence, whatever its name is or what is damaged; links, holes and headers that lie."""

import tarfile

import fsspec
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


@pytest.mark.parametrize("name", [NAMES[0], NAMES[3]])
@pytest.mark.parametrize("byte", [3, 110, 130, 150])
def test_a_damaged_header_is_refused_by_name(whole, tmp_path, name, byte):
    at = header_of(whole, name) + byte
    with pytest.raises(UsageError, match=r"a\.tar: (damaged|not a tar)") as caught:
        opened(tmp_path, whole[:at] + bytes([whole[at] ^ 0x15]) + whole[at + 1 :])
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("name", [NAMES[1], NAMES[-1]])
def test_zeros_between_members_and_a_cut_are_refused(whole, tmp_path, name):
    at = header_of(whole, name)
    for zeros in (whole[:at] + bytes(BLOCK) + whole[at:], whole[:at] + bytes(BLOCK) + whole[at + BLOCK :]):
        with pytest.raises(UsageError, match=rf"a\.tar: damaged or ends early at byte {at:,}: no header"):
            opened(tmp_path, zeros)
    for cut in (whole[:at], whole[: at + 200], whole[:at] + bytes(BLOCK), whole[: at - 100]):
        with pytest.raises(UsageError, match=r"a\.tar: .*ends early"):
            opened(tmp_path, cut)


def test_the_end_is_two_blocks_of_zeros_or_more(whole, tmp_path, monkeypatch):
    end = len(whole.rstrip(b"\0"))
    end += -end % BLOCK
    for data in (whole[: end + 2 * BLOCK], whole + bytes(3_000_000)):
        assert len(opened(tmp_path, data).samples) == len(NAMES)
    with pytest.raises(UsageError, match="damaged or ends early at byte"):
        opened(tmp_path, whole + bytes(3_000_000) + b"x")
    monkeypatch.setattr(tar, "_MOST_END", 200_000)
    with pytest.raises(UsageError, match="MB of zeros behind its last member"):
        opened(tmp_path, whole + bytes(1_000_000))


def test_the_end_of_a_far_tar_is_looked_at_too(whole):
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    memory.pipe("/bucket/a.tar", whole)
    memory.pipe("/bucket/cut.tar", whole[: header_of(whole, NAMES[3])])
    assert len(open_source(["memory://bucket/a.tar"]).samples) == len(NAMES)
    with pytest.raises(UsageError, match="ends early"):
        open_source(["memory://bucket/cut.tar"])


def sized(name, size):
    """A header that says a size, in the binary form where it has too many digits."""
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("size", [2**70, 2**40, -512])
def test_sizes_that_no_file_has_are_one_line(whole, tmp_path, size):
    at = header_of(whole, NAMES[1])
    with pytest.raises(UsageError, match=r"a\.tar: damaged"):
        opened(tmp_path, whole[:at] + sized("big.png", size) + whole[at:])


def added(tmp_path, *infos):
    """A tar of the members and of entries of other kinds."""
    path = write_tar(tmp_path / "a.tar", MEMBERS)
    with tarfile.open(path, "a") as made:
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
        ("../out.jpg", tarfile.SYMTYPE, "a.png"),
        ("gone.png", tarfile.SYMTYPE, "nowhere.png"),
        ("out.png", tarfile.SYMTYPE, "/etc/passwd"),
        ("chain.png", tarfile.LNKTYPE, "hard.png"),
        ("pipe.png", tarfile.FIFOTYPE, ""),
        ("caption.txt", tarfile.SYMTYPE, "a.png"),
        ("folder.png", tarfile.DIRTYPE, ""),
    )
    samples = {sample.image_id: sample for sample in source.samples}
    problems = {name: sample.problem for name, sample in samples.items() if sample.problem}
    assert problems == {
        "../out.jpg": "a link to a.png, which is not a file in the archive",
        "gone.png": "a link to nowhere.png, which is not a file in the archive",
        "out.png": "a link to /etc/passwd, which is not a file in the archive",
        "chain.png": "a link to hard.png, which is not a file in the archive",
        "pipe.png": "a device or a FIFO in the archive, not a file",
    }
    assert samples.keys() == {*NAMES, "hard.png", "deep/soft.png", *problems}
    assert source.read(samples["hard.png"]) == dict(MEMBERS)["a.png"]
    assert source.read(samples["deep/soft.png"]) == dict(MEMBERS)["b.png"]
    assert source.skipped == {".txt": 1}


def test_links_in_a_far_tar_are_read_from_their_targets_block(tmp_path, monkeypatch):
    monkeypatch.setattr(tar, "MEMBERS", 2)
    added(tmp_path, ("hard.png", tarfile.LNKTYPE, "a.png"))
    memory = fsspec.filesystem("memory")
    memory.pipe("/bucket/links.tar", (tmp_path / "a.tar").read_bytes())
    source = open_source(["memory://bucket/links.tar"])
    blocks = {sample.image_id: source.block(sample) for sample in source.samples}
    assert blocks["hard.png"] == blocks["a.png"] != blocks["f.png"]


def test_a_file_with_holes_is_a_failure_in_right_words(whole, tmp_path):
    header = bytearray(sized("sparse.png", BLOCK))
    header[156:157] = b"S"
    header[386:410] = b"00000000000\0" + b"00000001000\0"  # one part: where, and how long
    header[483:495] = b"00000010000\0"  # its real size
    header[148:156] = b"        "
    header[148:156] = b"%06o\0 " % sum(header)
    source = opened(tmp_path, bytes(header) + bytes(BLOCK) + whole)
    words = "a sparse file in a tar cannot be read in place: pack it without holes"
    assert {s.image_id: s.problem for s in source.samples} == {"sparse.png": words} | dict.fromkeys(NAMES)


def test_a_member_above_the_bound_is_a_failure_and_a_long_text_no_caption(tmp_path, monkeypatch):
    monkeypatch.setattr(tar, "IMAGE_BYTES", 702)
    monkeypatch.setattr(tar, "TEXT_BYTES", 10)
    texts = [("a.txt", b"short"), ("b.txt", b"a longer text")]
    source = open_source([str(write_tar(tmp_path / "a.tar", [*MEMBERS, *texts]))])
    too_large = [f"larger than 702 bytes ({size} bytes)" for size in (703, 704, 705)]
    assert [sample.problem for sample in source.samples] == [None] * 3 + too_large
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


# Names.
MEASURED = [
    "../up.jpg", "../../far/up.png", "a/../b.jpg", "a/./c.jpg", "/absolute.jpg", "//twice//absolute.jpg",
    "C:\\windows.jpg", "~/home.jpg", "name with spaces .jpg", "-rf.jpg", "two\nlines.jpg", "\x1b[31mred.jpg",
    "caf\udce9.png", "e\u0301.jpg", "\u202egpj.exe.jpg", "a" * 300 + ".jpg", "%2e%2e/percent.jpg", "a?b=c#1.jpg",
    "UPPER.JPEG",
]  # fmt: skip
HIDDEN = [
    ".hidden.jpg", "a/.hidden.jpg", ".folder/a.jpg", "__MACOSX/._a.jpg", "../.hidden.jpg", "...a/b.jpg", "...jpg",
]  # fmt: skip
OTHER = {"a.exe": ".exe", "a/..": "no ending", "trailing.jpg.": ".", "no ending": "no ending"}


def test_every_member_is_measured_or_counted(tmp_path):
    names = [*MEASURED, *HIDDEN, *OTHER]
    written = write_tar(tmp_path / "a.tar", [(name, name.encode("utf-8", "ignore")) for name in names])
    source = open_source([str(written)])
    assert [sample.image_id for sample in source.samples] == MEASURED
    assert all(source.read(sample) == sample.image_id.encode("utf-8", "ignore") for sample in source.samples)
    assert source.skipped == {"hidden": len(HIDDEN), ".exe": 1, "no ending": 2, ".": 1}


def test_captions_of_the_webdataset_layout(tmp_path):
    members = [
        ("000.jpg", b"x"), ("000.txt", b" a cat\n"), ("000.json", b'{"caption": "not this"}'),
        ("001.json", b'{"caption": "a dog", "url": "x"}'), ("001.jpg", b"x"), ("002.jpg", b"x"),
        ("002.json", b"{broken"), ("003.txt", b"no picture"), ("004.cls", b"3"), ("._005.jpg", b""),
        ("006.jpg", b"x"), ("006.json", b'{"caption": " half \\ud83d "}'),
    ]  # fmt: skip
    source = open_source([str(write_tar(tmp_path / "00000.tar", members))])
    assert [(s.image_id, s.caption) for s in source.samples] == [
        ("000.jpg", "a cat"), ("001.jpg", "a dog"), ("002.jpg", None), ("006.jpg", "half ?"),
    ]  # fmt: skip
    assert source.skipped == {".txt": 1, ".cls": 1, "hidden": 1}
