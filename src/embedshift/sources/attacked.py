"""attack.json: the results of `embedshift attack` and everything that decides them; read as untrusted data."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, MaxLen

from embedshift.config import Json
from embedshift.config.files import expanded, read_file, read_text, typed
from embedshift.errors import EmbedshiftError, UsageError
from embedshift.sources.base import IMAGE_BYTES, Failure, hash_of, stem
from embedshift.sources.lists import is_url

FILE, ORIGINALS = "attack.json", "original"
# Largest size of a file that is read, and longest name that a report shows from it, in bytes.
LARGEST, NAME = 2**28, 200


@dataclass(frozen=True, kw_only=True)
class AttackedVariant:
    norm: Literal["linf", "l2"]
    eps: Annotated[float, Gt(0), Le(255)]
    kind: Literal["attack", "control"] = "attack"
    through: Annotated[str, MaxLen(NAME)] = ""

    @property
    def name(self) -> str:
        budget = f"{self.norm}-{self.eps:g}"
        if self.kind == "control":
            return f"control-{budget}"
        return budget + (f"-through-{self.through.replace(':', '-')}" if self.through else "")


@dataclass(frozen=True, kw_only=True)
class AttackedImage:
    """The results for one image."""

    pixels: str
    files: Mapping[str, str]
    cosine: Mapping[str, float]
    method: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Attack:
    embedshift: str
    encoder: Annotated[str, MaxLen(4_096)]
    identity: Mapping[str, Any]
    variants: Mapping[str, AttackedVariant]
    images: Mapping[str, AttackedImage] = field(default_factory=dict)
    failures: tuple[Failure, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)


def read_attack(folder: Path) -> Attack | None:
    """Reads attack.json in a folder; None if there is none."""
    file = folder / FILE
    if not os.path.lexists(file):
        return None
    try:
        attack = typed(Attack, json.loads(read_text(file, LARGEST)))
        if wrong := [name for name, variant in attack.variants.items() if name != variant.name]:
            raise ValueError(f"the folder of a variant cannot be named {wrong[0]!r:.80}")
        return attack
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{file}: not a file written by `embedshift attack` ({error!s:.200})") from error


def variant_path(folder: Path, variant: str, image_id: str) -> Path:
    """Returns the path of an image's variant: its id with the ending of a PNG."""
    name = stem(image_id)
    if "\0" in name or any(not part or part.startswith(".") for part in name.split("/")):
        raise EmbedshiftError("its id cannot be used as a file name in a folder of images")
    return folder / variant / f"{name}.png"


def file_hash(path: Path) -> str:
    """Returns the hash of a file's bytes; "" if it cannot be read."""
    try:
        return hash_of(read_file(path, IMAGE_BYTES))
    except (OSError, EmbedshiftError):
        return ""


def _refuse_changed(folder: Path, attack: Attack, variants: Sequence[str]) -> None:
    """Refuses files that differ from those that the attack made; missing files are accepted."""
    for image_id, image in attack.images.items():
        for variant in variants:
            path = variant_path(folder, variant, image_id)
            if variant in image.files and path.exists() and file_hash(path) != image.files[variant]:
                raise UsageError(f"{path} is not the image that the attack wrote")


@dataclass(frozen=True, kw_only=True)
class AttackRecord:
    """What a study stores about the attack on its images."""

    encoder: Annotated[str, MaxLen(4_096)]
    weights_hash: Annotated[str, MaxLen(NAME)]
    steps: Annotated[int, Ge(1)]
    target: bool
    variants: Mapping[str, AttackedVariant]


def attack_identity(images: Sequence[str], variants: Mapping[str, str]) -> Json:
    """What a study stores about the attack that made its variants, as in `AttackRecord`; empty without attack."""
    if len(images) != 1 or is_url(images[0]) or not expanded(images[0]).is_dir():
        return {}
    originals = expanded(images[0]).resolve()
    attack = read_attack(originals.parent) if originals.name == ORIGINALS else None
    if attack is None:
        return {}
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


def read_attack_record(stored: Mapping[str, Any]) -> AttackRecord | None:
    """Reads what a study's `identity` stores about the attack; None if it stores nothing."""
    if not stored:
        return None
    try:
        return typed(AttackRecord, dict(stored))
    except ValueError as error:
        raise UsageError(f"{FILE} does not record what was attacked ({error!s:.200})") from error
