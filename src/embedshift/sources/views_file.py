"""Views as files: folders of originals and views beside views.json or attack.json, which are read as untrusted data."""

import functools
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from annotated_types import Ge, Gt, Le, MaxLen

from embedshift.config import Format, Json, Level
from embedshift.config.safe_files import expanded, read_file, read_text, typed
from embedshift.errors import EmbedshiftError, UsageError
from embedshift.sources.base import IMAGE_BYTES, Failure, ImageRef, Source, hash_of, stem
from embedshift.sources.folder import is_url

# The folder of the originals.
ORIGINALS = "original"
# Largest size of a manifest that is read, and longest text from it that a report shows, in bytes.
LARGEST, TEXT = 2**31, 1_000
# Views of an image, so many at most.
VIEWS = 100_000

Name = Annotated[str, MaxLen(TEXT)]


@dataclass(frozen=True, kw_only=True)
class ImageFiles:
    pixels: Name
    files: Mapping[str, Name]


@dataclass(frozen=True, kw_only=True)
class Manifest:
    embedshift: Name
    identity: Mapping[str, Any]
    images: Mapping[str, ImageFiles] = field(default_factory=dict)
    failures: tuple[Failure, ...] = ()

    # The manifest's name, the command that writes it, and how messages name what the command makes.
    FILE: ClassVar[str]
    COMMAND: ClassVar[str]
    OTHER: ClassVar[str]
    NOTHING: ClassVar[str]
    AGAIN: ClassVar[str]

    def continuing(self, stored: Self) -> Self:
        return replace(self, images=stored.images)

    def refuse_wrong(self, folder: Path) -> None:
        """Raises ValueError or EmbedshiftError where the names in a manifest cannot be right."""


M = TypeVar("M", bound=Manifest)


@dataclass(frozen=True, kw_only=True)
class ViewsAugmentation:
    description: Name
    level: Level | None = None
    seeded_by: Name = ""


@dataclass(frozen=True, kw_only=True)
class ViewsImage(ImageFiles):
    seeds: Mapping[str, int] = field(default_factory=dict)
    parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    caption: Annotated[str, MaxLen(LARGEST)] | None = None


@dataclass(frozen=True, kw_only=True)
class ViewsFile(Manifest):
    seed: Annotated[int, Ge(0)]
    draws: Annotated[int, Ge(1)]
    format: Format
    augmentations: Mapping[str, ViewsAugmentation]
    images: Mapping[str, ViewsImage] = field(default_factory=dict)
    # Mild views by diffusion that are nearer to another image's original.
    doubtful: Mapping[str, tuple[Name, ...]] = field(default_factory=dict)

    FILE = "views.json"
    COMMAND = "views"
    OTHER = "other views"
    NOTHING = "no views could be written"
    AGAIN = "has changed since its views were written; writing them again"

    @property
    def folders(self) -> list[str]:
        return [folder_of(name, draw, self.draws) for draw in range(self.draws) for name in self.augmentations]

    def refuse_wrong(self, folder: Path) -> None:
        if not self.augmentations:
            raise ValueError("no augmentation")
        if self.draws * len(self.augmentations) > VIEWS:
            raise ValueError(f"more than {VIEWS:,} views of an image")
        for view in self.folders:
            view_path(folder, view, ORIGINALS, self.format)


@dataclass(frozen=True, kw_only=True)
class AttackedVariant:
    norm: Literal["linf", "l2"]
    eps: Annotated[float, Gt(0), Le(255)]
    kind: Literal["attack", "control"] = "attack"
    through: Name = ""

    @property
    def name(self) -> str:
        budget = f"{self.norm}-{self.eps:g}"
        if self.kind == "control":
            return f"control-{budget}"
        return budget + (f"-through-{self.through.replace(':', '-')}" if self.through else "")


@dataclass(frozen=True, kw_only=True)
class AttackedImage(ImageFiles):
    cosine: Mapping[str, float]
    method: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Attack(Manifest):
    encoder: Annotated[str, MaxLen(4_096)]
    variants: Mapping[str, AttackedVariant]
    images: Mapping[str, AttackedImage] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    FILE = "attack.json"
    COMMAND = "attack"
    OTHER = "another attack"
    NOTHING = "no image could be attacked"
    AGAIN = "has changed since it was attacked; attacking it again"

    def continuing(self, stored: Self) -> Self:
        return replace(self, images=stored.images, variants={**stored.variants, **self.variants})

    def refuse_wrong(self, folder: Path) -> None:
        if wrong := [name for name, variant in self.variants.items() if name != variant.name]:
            raise ValueError(f"the folder of a variant cannot be named {wrong[0]!r:.80}")


def folder_of(name: str, draw: int, draws: int) -> str:
    return name if draws == 1 else f"{name}/{draw}"


def view_path(folder: Path, view: str, image_id: str, format: str) -> Path:
    name = stem(image_id)
    for part in (*view.split("/"), *name.split("/")):
        if not part or part.startswith(".") or "\0" in part:
            raise EmbedshiftError(f"{part!r:.40} cannot be used as a file name in a folder of images")
    return folder / view / f"{name}.{'jpg' if format == 'jpeg' else format}"


def file_hash(path: Path) -> str:
    try:
        return hash_of(read_file(path, IMAGE_BYTES))
    except (OSError, EmbedshiftError):
        return ""


def read_manifest(kind: type[M], path: Path) -> M:
    try:
        content = json.loads(text := read_text(path, LARGEST))
        if "\\u" in text:  # half of a character is no name, except a byte of a file name
            json.dumps(content, ensure_ascii=False).encode("utf-8", "surrogateescape")
        manifest = typed(kind, content)
        manifest.refuse_wrong(path.parent)
        return manifest
    except (ValueError, RecursionError, EmbedshiftError) as error:
        raise UsageError(f"{path}: not a file written by `embedshift {kind.COMMAND}` ({error!s:.200})") from error


def is_views_file(path: str) -> bool:
    return os.path.basename(path.partition("#")[0]) == ViewsFile.FILE


def read_views_file(path: Path) -> ViewsFile:
    status = os.stat(path) if path.is_file() else None
    if status is None:
        raise UsageError(f"{path}: no such file; `embedshift views` writes it")
    return _read(path, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=1)
def _read(path: Path, _changed: int, _size: int) -> ViewsFile:
    return read_manifest(ViewsFile, path)


class ViewsSource(Source):
    """The images of one folder that views.json describes, under the ids that they had: `DIR/views.json#FOLDER`."""

    def __init__(self, entries: Sequence[str]) -> None:
        if len(entries) != 1:
            raise UsageError(f"{entries[1]}: give the views of one {ViewsFile.FILE} at a time")
        path, _, view = entries[0].partition("#")
        folder, self._view, self._views = Path(path).parent, view or ORIGINALS, read_views_file(Path(path))
        if self._view not in (ORIGINALS, *self._views.folders):
            raise UsageError(f"{path}: it has no views {self._view!r}")
        self.samples = [
            ImageRef(image_id, str(view_path(folder, self._view, image_id, self._views.format)), caption=image.caption)
            for image_id, image in self._views.images.items()
            if self._view in image.files
        ]
        if self._view == ORIGINALS:
            self.samples += [
                ImageRef(failure.image_id, "", problem=f"no views were written ({failure.stage}: {failure.reason})")
                for failure in self._views.failures
            ]
        self.skipped: Counter[str] = Counter()
        self.description = {"kind": "views", "paths": list(entries)}

    def read(self, sample: ImageRef) -> bytes:
        """Reads the bytes of one file; EmbedshiftError if it is not the one that was written."""
        data = read_file(Path(sample.location), IMAGE_BYTES)
        if hash_of(data) != self._views.images[sample.image_id].files[self._view]:
            raise EmbedshiftError("it is not the file that `embedshift views` wrote")
        return data


@dataclass(frozen=True, kw_only=True)
class AttackRecord:
    encoder: Annotated[str, MaxLen(4_096)]
    weights_hash: Name
    steps: Annotated[int, Ge(1)]
    target: bool
    variants: Mapping[str, AttackedVariant]


def attack_identity(images: Sequence[str], variants: Mapping[str, str]) -> Json:
    """What a study stores about the attack that made its variants, as in `AttackRecord`; empty without attack."""
    if len(images) != 1 or is_url(images[0]) or not expanded(images[0]).is_dir():
        return {}
    originals = expanded(images[0]).resolve()
    file = originals.parent / Attack.FILE
    if originals.name != ORIGINALS or not os.path.lexists(file):
        return {}
    attack = read_manifest(Attack, file)
    folders = {name: expanded(path).resolve() for name, path in variants.items() if not is_url(path)}
    made = {
        name: vars(attack.variants[folder.name])
        for name, folder in folders.items()
        if folder.parent == originals.parent and folder.name in attack.variants
    }
    if made:
        _refuse_changed(originals.parent, attack, [ORIGINALS, *(folders[name].name for name in made)])
    identity = attack.identity
    stored: Json = {"encoder": attack.encoder, "weights_hash": identity.get("weights_hash")}
    stored |= {"steps": identity.get("steps"), "target": identity.get("target") is not None, "variants": made}
    read_attack_record(stored)
    return stored if made else {}


def _refuse_changed(folder: Path, attack: Attack, variants: Sequence[str]) -> None:
    """Refuses files that differ from those that the attack made; missing files are accepted."""
    for image_id, image in attack.images.items():
        for variant in variants:
            path = view_path(folder, variant, image_id, "png")
            if variant in image.files and path.exists() and file_hash(path) != image.files[variant]:
                raise UsageError(f"{path} is not the image that the attack wrote")


def read_attack_record(stored: Mapping[str, Any]) -> AttackRecord | None:
    if not stored:
        return None
    try:
        return typed(AttackRecord, dict(stored))
    except ValueError as error:
        raise UsageError(f"{Attack.FILE} does not record what was attacked ({error!s:.200})") from error
