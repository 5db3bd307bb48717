"""Roots: where this user's runs have read images. A study from somebody else is data, and names no other place.

A report draws images again from the places that study.json names. Whoever wrote that file could name any place of the
reader's machine, and the report would hold what lies there. So runs note their roots in the user's own state folder,
and images are read below these alone, or below a folder that the user names.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embedshift.config import Json
from embedshift.errors import EmbedshiftError
from embedshift.sources.lists import file_and_column, is_url

_LARGEST = 10_000_000  # bytes


def state_file() -> Path:
    """Where roots are noted: one a line, as JSON."""
    base = os.environ.get("XDG_STATE_HOME", "")
    return Path(base if os.path.isabs(base) else os.path.expanduser("~/.local/state")) / "embedshift" / "roots"


def note_roots(description: Mapping[str, Any]) -> None:
    """Notes where a run reads images; where nothing can be written, nothing is noted.

    The whole file system (`/`) is no root.

    Args:
        description: As `Source.description`.
    """
    known, file = _noted(), state_file()
    new = [root for root in dict.fromkeys(map(_real, places(description))) if root not in known and root != os.sep]
    hidden = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        if new and file.is_absolute():
            file.parent.mkdir(parents=True, exist_ok=True)
            hidden.write_text("".join(f"{json.dumps(root)}\n" for root in (*known, *new)), encoding="utf-8")
            os.replace(hidden, file)
    except OSError:
        return


def places(description: Mapping[str, Any]) -> list[str]:
    """The folders, archives and URLs that a description names, those of variants too."""
    described: list[Mapping[str, Any]] = [description, *description.get("variants", {}).values()]
    return [place for each in described for place in own_places(each)]


def own_places(description: Mapping[str, Any]) -> list[str]:
    """The same without those of variants."""
    return [*([description["root"]] if "root" in description else []), *description.get("paths", ())]


@dataclass(frozen=True)
class Roots:
    """Places below which images may be read.

    Args:
        places: Real paths of folders and files, and URLs.
    """

    places: Sequence[str]

    @classmethod
    def known(cls, *more: str | Path) -> "Roots":
        """Those that runs have noted, and more."""
        return cls((*_noted(), *(_real(str(place)) for place in more)))

    def check(self, place: str) -> None:
        """Refuses a path or URL that is none of them, nor below one; a link counts as what it leads to.

        Raises:
            EmbedshiftError: one line.

        Example:
            >>> Roots(["/data/photos"]).check("/data/photos/a.png")
            >>> Roots(["/data/photos"]).check("/data/photos/../secret.png")
            Traceback (most recent call last):
            embedshift.errors.EmbedshiftError: it lies outside the folders that images may be read from
        """
        real = _real(place)
        below = any(real == root or real.startswith(root.rstrip("/") + "/") for root in self.places)
        if not below or (is_url(real) and ".." in real.split("/")):
            raise EmbedshiftError("it lies outside the folders that images may be read from")


def moved(description: Mapping[str, Any], folder: Path) -> Json:
    """A description of the same images below another folder.

    Images are looked up there by their ids; archives, and folders of variants, by their names.

    Example:
        >>> moved({"kind": "tar", "paths": ["/data/a.tar"]}, Path("/here"))
        {'kind': 'tar', 'paths': ['/here/a.tar']}
        >>> moved({"kind": "folder", "root": "/data"}, Path("/here"))
        {'kind': 'folder', 'root': '/here'}
    """
    found: Json = {"kind": "folder", "root": str(folder)}
    if description["kind"] not in ("folder", "url"):
        found = {"kind": description["kind"], "paths": _named(description, folder)}
    variants = description.get("variants", {})
    others = {
        name: {"kind": each["kind"].replace("url", "folder"), "paths": _named(each, folder)}
        for name, each in variants.items()
    }
    return found | ({"variants": others} if others else {})


def _named(description: Mapping[str, Any], folder: Path) -> list[str]:
    return [str(folder / os.path.basename(path.rstrip("/"))) for path in description["paths"]]


def _noted() -> list[str]:
    file = state_file()
    try:
        if not file.is_file() or file.stat().st_size > _LARGEST:
            return []
        lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError, RecursionError):
        return []
    return [line for line in lines if isinstance(line, str) and line]


def _real(place: str) -> str:
    """A path without links and the name of a column; a URL as it is."""
    if place.startswith("file://"):
        place = place.removeprefix("file://")
    return place.rstrip("/") if is_url(place) else os.path.realpath(file_and_column(place)[0])
