"""Files that a study of pictures from the web meets: each kind says what must become of it.

    python -m support.hostile FOLDER        (with tests/ on the path) writes all of them

A kind is measured as an independent decoder shows it, or fails with words; of some that carry neither length nor
checksum nor end it is only said that nothing else happens than one of the two.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from embedshift.arrays import Pixels


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One hostile or odd file.

    Args:
        name: What it is, in words.
        ending: Of its file.
        data: Its bytes; None where `place` puts something else than bytes there.
        words: What the failure says; None for what is measured.
        pixels: What is measured, `[H, W, 3]`; None where it fails, or where damage cannot be seen.
        off: How much the mean of the pixels' differences may be, in levels; 0 = equal.
        file: Name of its file, where the name is what is odd.
        place: Puts it at a path.
    """

    name: str
    ending: str
    data: bytes | None = None
    words: str | None = None
    pixels: Pixels | None = None
    off: float = 0.0
    file: bytes | None = None
    place: Callable[[Path], None] | None = None

    @property
    def file_name(self) -> bytes:
        """The name of its file."""
        return self.file or f"{self.name.replace(' ', '-').replace('/', '-')}{self.ending}".encode()


def kinds() -> list[Kind]:
    """All kinds; made anew, for some take megabytes."""
    from support.hostile import damaged, odd, places

    found = [*odd.kinds(), *damaged.kinds(), *places.kinds()]
    assert len({kind.file_name for kind in found}) == len(found)
    return found


def write(folder: Path, made: list[Kind]) -> None:
    """Puts the files of all kinds into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for kind in made:
        path = Path(os.fsdecode(os.path.join(os.fsencode(folder), kind.file_name)))
        if kind.place is not None:
            kind.place(path)
        else:
            assert kind.data is not None
            path.write_bytes(kind.data)
