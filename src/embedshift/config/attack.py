"""The settings of an attack."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le

from embedshift.config import AtLeast1, Resize, Seconds, validated
from embedshift.errors import UsageError
from embedshift.registry import setting, unknown_name

# The default budget of each norm: "linf" in levels of 255, "l2" of values in [0, 1].
EPS = {"linf": (4.0,), "l2": (1.0,)}


@dataclass(frozen=True, kw_only=True)
class AttackConfig:
    """All settings of an attack, under the names of `embedshift.attack` and the command line.

    Example:
        >>> make_attack_config({"images": ["photos"], "norm": "l2"}).eps
        (1.0,)
    """

    images: tuple[str, ...] = setting((), "A folder, several files and folders, or a .txt list.")
    model: str = setting("openai/clip-vit-base-patch32", "Hub id, local folder, or a name: see `list encoders`.")
    embedding: str | None = setting(None, "Which vector. Default: the family's first.", rare=True)
    norm: Literal["linf", "l2"] = setting("linf", "linf or l2.")
    eps: tuple[Annotated[float, Gt(0), Le(255)], ...] = setting(
        (), "Budgets, with commas: linf in levels of 255, l2 of values in [0, 1]. Default: 4, or 1 of l2."
    )
    steps: Annotated[int, Ge(1), Le(10_000)] = setting(50, "Of each method, for one budget of one image.")
    target: str | None = setting(None, "An image to move towards. Default: away from the image itself.")
    through: tuple[str, ...] = setting((), "Purifiers that the attacker knows, as jpeg:50; a folder more of each.")
    limit: AtLeast1 | None = setting(None, "Only the first N images, by their sorted ids.")
    sample: AtLeast1 | None = setting(None, "N images drawn by the seed.")
    seed: Annotated[int, Ge(0)] = setting(0, "Decides where each attack begins, and the controls.")
    size: Annotated[int, Ge(8)] | None = setting(None, "Input size in pixels. Default: the encoder's.")
    resize: Resize = setting("squash", "squash or crop.")
    device: str = setting("auto", "auto, cpu, mps, cuda:0.")
    image_timeout: Seconds = setting(60.0, "Seconds to read or decode an image.", rare=True)


def make_attack_config(given: Mapping[str, Any]) -> AttackConfig:
    """Makes a checked `AttackConfig`.

    Args:
        given: Setting → value; settings that are left out have their defaults.

    Returns:
        The settings, with the default budget of the norm if none is given.

    Raises:
        UsageError: A name is unknown, or a value is not accepted.

    Example:
        >>> make_attack_config({"eps": [0.5]})
        Traceback (most recent call last):
        embedshift.errors.UsageError: eps 0.5: pictures have whole levels: give linf a whole number from 1 to 255
    """
    known = dict.fromkeys(each.name for each in fields(AttackConfig))
    for name in given:
        if name not in known:
            raise UsageError(unknown_name("setting", name, known))
    config = validated(AttackConfig, given)
    eps = tuple(dict.fromkeys(config.eps)) or EPS[config.norm]
    for each in eps if config.norm == "linf" else ():
        if each != int(each):
            raise UsageError(f"eps {each:g}: pictures have whole levels: give linf a whole number from 1 to 255")
    if config.norm == "l2" and min(eps) < 1 / 255:
        raise UsageError(f"eps {min(eps):g}: pictures have whole levels: within l2 below 1/255 no pixel can move")
    return replace(config, eps=eps, through=tuple(dict.fromkeys(config.through)))
