"""The suite `strength`: families of changes, from one that is hardly seen to one that spoils the image."""

from embedshift.augmentations.augmentation import Augmentation, Choice
from embedshift.augmentations.family import of_suite
from embedshift.augmentations.strength import coding
from embedshift.augmentations.suite import SUITES

__all__ = ["coding"]


def strength(choice: Choice) -> list[Augmentation]:
    """Eighteen families at five levels each, and the mirrored image.

    Example:
        >>> strength(Choice(families=("jpeg",)))[2].name
        'jpeg@3'
    """
    return of_suite("strength", choice)


SUITES.add("strength", strength)
