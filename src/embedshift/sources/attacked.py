"""attack.json: the results of `embedshift attack` and everything that decides them; read as untrusted data."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from annotated_types import Ge, Gt, Le, MaxLen

from embedshift.config import Json
from embedshift.config.files import read_file, read_text
from embedshift.errors import EmbedshiftError, UsageError
from embedshift.sources.base import IMAGE_BYTES, stem
from embedshift.sources.lists import is_url

T = TypeVar("T")

FILE, ORIGINALS = "attack.json", "original"
# Largest size of a file that is read, and longest name that a report shows from it, in bytes.
LARGEST, NAME = 2**28, 200


@dataclass(frozen=True, kw_only=True)
class AttackedVariant:
    """A folder of variants."""

    norm: Literal["linf", "l2"]
    eps: Annotated[float, Gt(0), Le(255)]
    kind: Literal["attack", "control"] = "attack"
    through: Annotated[str, MaxLen(NAME)] = ""

    @property
    def name(self) -> str:
        """The name of its folder."""
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
class Failed:
    """An image that was not attacked; fields as in `store.shards.Failure`."""

    image_id: str
    stage: str
    reason: str
    transient: bool = False


@dataclass(frozen=True, kw_only=True)
class Attack:
    """The content of attack.json."""

    embedshift: str
    encoder: Annotated[str, MaxLen(4_096)]
    identity: Mapping[str, Any]
    variants: Mapping[str, AttackedVariant]
    images: Mapping[str, AttackedImage] = field(default_factory=dict)
    failures: tuple[Failed, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)


def read_attack(folder: Path) -> Attack | None:
    """Reads attack.json in a folder; None if there is none."""
    file = folder / FILE
    if not os.path.lexists(file):
        return None
    try:
        found = _typed(Attack, json.loads(read_text(file, LARGEST)))
        if wrong := [name for name, each in found.variants.items() if name != each.name]:
            raise ValueError(f"the folder of a variant cannot be named {wrong[0]!r:.80}")
        return found
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{file}: not a file written by `embedshift attack` ({error!s:.200})") from error


def file_of(folder: Path, variant: str, image_id: str) -> Path:
    """Returns the path of an image's variant: its id with the ending of a PNG."""
    name = stem(image_id)
    if "\0" in name or any(not part or part.startswith(".") for part in name.split("/")):
        raise EmbedshiftError("its id cannot be used as a file name in a folder of images")
    return folder / variant / f"{name}.png"


def hash_of(path: Path) -> str:
    """Returns the hash of a file's bytes; "" if it cannot be read."""
    try:
        return hashlib.blake2b(read_file(path, IMAGE_BYTES), digest_size=16).hexdigest()
    except (OSError, EmbedshiftError):
        return ""


def _refuse_others(folder: Path, attack: Attack, variants: Sequence[str]) -> None:
    """Refuses files that differ from those that the attack made; missing files are accepted."""
    for image_id, image in attack.images.items():
        for variant in variants:
            path = file_of(folder, variant, image_id)
            if variant in image.files and path.exists() and hash_of(path) != image.files[variant]:
                raise UsageError(f"{path} is not the image that the attack wrote")


@dataclass(frozen=True, kw_only=True)
class AttackRecord:
    """What a study stores about the attack on its images."""

    encoder: Annotated[str, MaxLen(4_096)]
    weights_hash: Annotated[str, MaxLen(NAME)]
    steps: Annotated[int, Ge(1)]
    target: bool
    variants: Mapping[str, AttackedVariant]


def attack_of(images: Sequence[str], variants: Mapping[str, str]) -> Json:
    """What a study stores about the attack that made its variants: the fields of `AttackRecord`; empty without attack."""
    if len(images) != 1 or is_url(images[0]) or not Path(images[0]).expanduser().is_dir():
        return {}
    originals = Path(images[0]).expanduser().resolve()
    attack = read_attack(originals.parent) if originals.name == ORIGINALS else None
    if attack is None:
        return {}
    folders = {name: Path(path).expanduser().resolve() for name, path in variants.items() if not is_url(path)}
    made = {
        name: vars(attack.variants[folder.name])
        for name, folder in folders.items()
        if folder.parent == originals.parent and folder.name in attack.variants
    }
    if made:
        _refuse_others(originals.parent, attack, [ORIGINALS, *(folders[name].name for name in made)])
    identity = attack.identity
    told: Json = {"encoder": attack.encoder, "weights_hash": identity.get("weights_hash")}
    told |= {"steps": identity.get("steps"), "target": identity.get("target") is not None, "variants": made}
    told_of(told)
    return told if made else {}


def told_of(told: Mapping[str, Any]) -> AttackRecord | None:
    """Reads what a study's `identity` stores about the attack; None if it stores nothing."""
    if not told:
        return None
    try:
        return _typed(AttackRecord, dict(told))
    except ValueError as error:
        raise UsageError(f"{FILE} does not record what was attacked ({error!s:.200})") from error


def _typed(kind: type[T], content: Any) -> T:
    import pydantic  # a tenth of a second that `--help` does not need

    try:
        return pydantic.TypeAdapter(kind).validate_python(content)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
