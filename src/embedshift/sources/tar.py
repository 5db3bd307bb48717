"""Tar files of images, as WebDataset and img2dataset write them."""

import bisect
import os
import posixpath
import tarfile
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import IO

from embedshift.config import Json
from embedshift.config.safe_files import refuse_larger
from embedshift.errors import EmbedshiftError, UsageError, cause, reason
from embedshift.sources.base import (
    CAPTION_ENDINGS,
    ENDINGS,
    IMAGE_BYTES,
    TEXT_BYTES,
    Block,
    ImageRef,
    Source,
    count_ending,
    read_captions,
)
from embedshift.sources.folder import is_url, list_archives, open_location
from embedshift.sources.web import file_system

# Members in a block of a tar behind a URL: neighbours are quick to read for the server, and for caches in between.
MEMBERS = 2_048
# Members of an archive behind a URL: a server can claim any size and hand out members without end.
FAR_MEMBERS = 1_000_000
# Zeros behind the last member: two blocks end a tar, and writers fill up to a record of 10 kB, or of some megabytes.
_END, _MOST_END, _PART = 2 * tarfile.BLOCKSIZE, 2**26, 2**16


class TarSource(Source):
    def __init__(self, archives: Sequence[str]) -> None:
        self.skipped: Counter[str] = Counter()
        self.samples = list_archives(archives, self._list, self.skipped)
        self._positions: dict[str, list[int]] = {}
        for sample in self.samples:
            if _is_far(sample.archive):
                self._positions.setdefault(sample.archive, []).append(sample.position)
        for positions in self._positions.values():
            positions.sort()  # a link stands behind what it points to
        self.description = {"kind": "tar", "paths": list(archives)}

    def read(self, sample: ImageRef) -> bytes:
        if _is_far(sample.archive):
            files, path = file_system(sample.archive)
            data: bytes = files.cat_file(path, start=sample.position, end=sample.position + sample.length)
        else:
            with open_location(sample.archive) as file:
                file.seek(sample.position)
                data = file.read(sample.length)
        if len(data) != sample.length:
            raise EmbedshiftError(f"{sample.archive} ends early")
        return data

    def block(self, sample: ImageRef) -> Block | None:
        """Returns a number of neighbouring members for an archive behind a URL; else None."""
        if (positions := self._positions.get(sample.archive)) is None:
            return None
        return sample.archive, bisect.bisect_left(positions, sample.position) // MEMBERS

    def __getstate__(self) -> Json:
        """Leaves out where members begin, too: each is read by itself, and blocks serve only the order."""
        return super().__getstate__() | {"_positions": {}}

    def _list(self, archive: str, skipped: Counter[str]) -> Iterator[ImageRef]:
        try:
            with open_location(archive) as file, _open_tar(file) as tar:
                members = _Members(tar, skipped, FAR_MEMBERS if _is_far(archive) else None)
                _refuse_without_end(tar.offset, file)
        except FileNotFoundError as error:
            raise UsageError(f"{archive}: no such file") from error
        except (OSError, EmbedshiftError) as error:
            raise UsageError(f"{archive}: {cause(error)}") from error
        except Exception as error:  # errors of a header with impossible sizes, names or dates
            raise UsageError(f"{archive}: damaged or ends early ({reason(error)}); make it again") from error
        stems = {os.path.splitext(name)[0] for name, _ in members.images}
        captions = read_captions(members.texts, stems, skipped, members.texts.__getitem__)
        for name, member in members.images:
            target, problem = members.resolved(name, member)
            yield ImageRef(
                name,
                f"{archive}: {name}",
                captions.get(os.path.splitext(name)[0]),
                problem,
                archive=archive,
                position=target.offset_data,
                length=target.size,
            )


class _Members:
    """The content of a tar: its images, the texts beside them, and every file by name, for links."""

    def __init__(self, tar: tarfile.TarFile, skipped: Counter[str], most: int | None) -> None:
        self.images: list[tuple[str, tarfile.TarInfo]] = []
        self.texts: dict[str, bytes] = {}
        self._files: dict[str, tarfile.TarInfo] = {}
        for count, member in enumerate(tar):
            if most is not None and count >= most:
                raise EmbedshiftError(f"more than {most:,} members behind a URL; pack them into several tars")
            if member.size < 0:
                raise tarfile.ReadError(f"{member.name}: a size below 0")
            name = member.name.removeprefix("./")
            ending = os.path.splitext(name)[1].lower()
            if member.isreg():
                self._files[posixpath.normpath(name)] = member
            if member.isdir():
                continue
            if any(part.startswith(".") and part not in (".", "..") for part in name.split("/")):
                skipped["hidden"] += 1
            elif ending in ENDINGS:
                self.images.append((name, member))
            elif ending in CAPTION_ENDINGS and member.isreg() and member.size <= TEXT_BYTES:
                content: IO[bytes] | None = tar.extractfile(member)
                self.texts[name] = content.read() if content else b""
            else:
                count_ending(skipped, name)

    def resolved(self, name: str, member: tarfile.TarInfo) -> tuple[tarfile.TarInfo, str | None]:
        """Returns the member that holds the bytes, and why there is none."""
        target, problem = member, None
        if member.islnk() or member.issym():
            folder = "" if member.islnk() else posixpath.dirname(name)
            target = self._files.get(posixpath.normpath(posixpath.join(folder, member.linkname)), member)
            if target is member:
                return member, f"a link to {member.linkname}, which is not a file in the archive"
        if target.issparse():
            problem = "a sparse file in a tar cannot be read in place: pack it without holes"
        elif not target.isreg():
            problem = "a device or a FIFO in the archive, not a file"
        else:
            try:
                refuse_larger(target.size, IMAGE_BYTES)
            except EmbedshiftError as error:
                problem = str(error)
        return target, problem


def _is_far(archive: str) -> bool:
    return is_url(archive) and not archive.startswith("file://")


def _open_tar(file: IO[bytes]) -> tarfile.TarFile:
    try:
        return tarfile.open(fileobj=file, mode="r:")
    except tarfile.ReadError as error:
        words = f"not a tar that can be read in place ({reason(error)}); unpack a compressed one first"
        raise EmbedshiftError(words) from error


def _refuse_without_end(start: int, file: IO[bytes]) -> None:
    """Refuses a tar that holds anything but zeros from a byte on: a reader stops there silently."""
    file.seek(start)
    zeros = 0
    while part := file.read(_PART):
        if part.strip(b"\0"):
            raise EmbedshiftError(f"damaged or ends early at byte {start:,}: no header of a member; make it again")
        zeros += len(part)
        if zeros > _MOST_END:
            raise EmbedshiftError(f"more than {_MOST_END // 2**20} MB of zeros behind its last member; make it again")
    if zeros < _END:
        raise EmbedshiftError("ends early (without the zeros that end a tar): fetch it or make it again")
