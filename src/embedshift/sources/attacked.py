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
    """A folder of variants.

    Args:
        norm: Norm of its budget.
        eps: Budget; for "linf" in levels of 255, for "l2" for values in [0, 1].
        kind: "attack", or "control" = random signs.
        through: The purifier that the attacker knew; "" = none.

    Example:
        >>> AttackedVariant(norm="linf", eps=4.0, through="jpeg:50").name, AttackedVariant(norm="l2", eps=0.5).name
        ('linf-4-through-jpeg-50', 'l2-0.5')
    """

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
    """The results for one image.

    Args:
        pixels: Hash of the original's pixels at the encoder's size.
        files: Folder → hash of the file's bytes.
        cosine: Folder → cosine between the variant's embedding and the reference.
        method: Folder → the method whose image was kept; empty for controls.
    """

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
    """The content of attack.json.

    Args:
        embedshift: Version that wrote it.
        encoder: Name of the attacked encoder.
        identity: Everything that decides the images of all folders; attacks with equal identity may share a folder.
        variants: Folder → description of its images.
        images: Image id → results.
        failures: Images that were not attacked.
        versions: Versions of libraries.
    """

    embedshift: str
    encoder: Annotated[str, MaxLen(4_096)]
    identity: Mapping[str, Any]
    variants: Mapping[str, AttackedVariant]
    images: Mapping[str, AttackedImage] = field(default_factory=dict)
    failures: tuple[Failed, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)


def read_attack(folder: Path) -> Attack | None:
    """Reads attack.json in a folder; None if there is none.

    Raises:
        UsageError: `embedshift attack` did not write it in this form.
    """
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
    """Returns the path of an image's variant: its id with the ending of a PNG.

    Raises:
        EmbedshiftError: The id cannot be the name of a file below the folder.

    Example:
        >>> file_of(Path("adv"), "linf-4", "cats/tom.jpg").as_posix()
        'adv/linf-4/cats/tom.png'
    """
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
class Told:
    """What a study stores about the attack on its images.

    Args:
        encoder: Name of the attacked encoder.
        weights_hash: Hash of its weights.
        steps: Steps of each method.
        target: Whether images were moved towards another image; by default away from themselves.
        variants: The study's variants that the attack made.
    """

    encoder: Annotated[str, MaxLen(4_096)]
    weights_hash: Annotated[str, MaxLen(NAME)]
    steps: Annotated[int, Ge(1)]
    target: bool
    variants: Mapping[str, AttackedVariant]


def attack_of(images: Sequence[str], variants: Mapping[str, str]) -> Json:
    """Returns what a study stores about the attack that made its variants: the fields of `Told`; empty without attack.

    An attack made them if attack.json lies beside the folder of the originals and beside their folders.

    Args:
        images: The study's `images`.
        variants: Its variants: name → path.

    Raises:
        UsageError: As in `read_attack`, and if a file is not the one that the attack made.
    """
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


def told_of(told: Mapping[str, Any]) -> Told | None:
    """Reads what a study's `identity` stores about the attack; None if it stores nothing.

    Raises:
        UsageError: A run did not write it in this form.

    Example:
        >>> told_of({}) is None
        True
    """
    if not told:
        return None
    try:
        return _typed(Told, dict(told))
    except ValueError as error:
        raise UsageError(f"{FILE} does not record what was attacked ({error!s:.200})") from error


def _typed(kind: type[T], content: Any) -> T:
    import pydantic  # a tenth of a second that `--help` does not need

    try:
        return pydantic.TypeAdapter(kind).validate_python(content)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
