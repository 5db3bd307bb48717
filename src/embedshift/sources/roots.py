"""Roots: the places where this user's runs have read images, as protection against studies from others.

A report draws images again from the places that study.json names. Its author could name any place on the reader's
machine, and the report would show what lies there. So runs store their roots in the user's own state folder, and images
are read only below these, or below a folder that the user names.
"""

import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from embedshift.config import Json
from embedshift.config.safe_files import read_file
from embedshift.errors import EmbedshiftError
from embedshift.sources.folder import file_and_column, is_url

_LARGEST = 10_000_000  # bytes


def state_file() -> Path:
    base = os.environ.get("XDG_STATE_HOME", "")
    return Path(base if os.path.isabs(base) else os.path.expanduser("~/.local/state")) / "embedshift" / "roots"


def remember_roots(description: Mapping[str, Any], locations: Sequence[str] = ()) -> None:
    """Stores the places where a run reads images; if nothing can be written, nothing is stored."""
    stored, file = set(_stored_roots()), state_file()
    roots = dict.fromkeys(map(_real, places(description)))
    if os.sep in roots:
        del roots[os.sep]
        roots |= dict.fromkeys(sorted({os.path.dirname(_real(location)) for location in locations} - {os.sep}))
    new = [root for root in roots if root not in stored]
    if not new or not file.is_absolute():
        return
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        # One write at the end, so that runs at once lose nothing; a line that was cut stands by itself.
        with open(file, "ab+") as opened:
            opened.seek(max(0, opened.tell() - 1))
            cut = opened.read(1) not in (b"", b"\n")
            opened.write("".join([*(["\n"] if cut else []), *(f"{json.dumps(root)}\n" for root in new)]).encode())


def places(description: Mapping[str, Any]) -> list[str]:
    described: list[Mapping[str, Any]] = [description, *description.get("variants", {}).values()]
    return [place for source in described for place in own_places(source)]


def own_places(description: Mapping[str, Any]) -> list[str]:
    paths = description.get("paths", ())
    if description.get("kind") == "views":  # beside the file that names them
        paths = [os.path.dirname(file_and_column(path)[0]) for path in paths]
    return [*([description["root"]] if "root" in description else []), *paths]


@dataclass(frozen=True)
class Roots:
    places: Sequence[str]
    # The sources that were opened below them: an archive is listed once.
    opened: dict[tuple[str, ...], Any] = field(default_factory=dict, compare=False)

    @classmethod
    def allowed(cls, *folders: str | Path) -> "Roots":
        return cls((*_stored_roots(), *(_real(str(place)) for place in folders)))

    def check(self, place: str) -> None:
        """Refuses a path or URL that is neither a root nor below one; a link counts as its target."""
        real = _real(place)
        below = any(real == root or real.startswith(root.rstrip("/") + "/") for root in self.places)
        if not below or (is_url(real) and ".." in real.split("/")):
            raise EmbedshiftError("it is outside the folders from which images may be read")


def moved(description: Mapping[str, Any], folder: Path) -> Json:
    below: Json = {"kind": "folder", "root": str(folder)}
    if description["kind"] not in ("folder", "url", "vectors"):
        below = {"kind": description["kind"], "paths": _paths_below(description, folder)}
    variants = description.get("variants", {})
    variants_below = {
        name: {"kind": variant["kind"].replace("url", "folder"), "paths": _paths_below(variant, folder)}
        for name, variant in variants.items()
    }
    return below | ({"variants": variants_below} if variants_below else {})


def _paths_below(description: Mapping[str, Any], folder: Path) -> list[str]:
    return [
        str(folder / os.path.basename(file.rstrip("/"))) + path.removeprefix(file)
        for path in description["paths"]
        for file in [file_and_column(path)[0]]
    ]


def _stored_roots() -> list[str]:
    file, roots = state_file(), list[str]()
    try:
        lines = read_file(file, _LARGEST).decode("utf-8", "replace").splitlines()
    except (OSError, EmbedshiftError):
        return []
    for line in lines:
        with contextlib.suppress(ValueError, RecursionError):
            root = json.loads(line)
            roots += [root] if isinstance(root, str) and root else []
    return roots


def _real(place: str) -> str:
    """Returns a path without links and without a column; a URL unchanged."""
    if place.startswith("file://"):
        place = place.removeprefix("file://")
    return place.rstrip("/") if is_url(place) else os.path.realpath(file_and_column(place)[0])
