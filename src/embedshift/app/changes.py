"""What can be done to an image on the page: families with a strength, and single augmentations."""

from dataclasses import dataclass

from embedshift.augmentations import SUITES, Augmentation, Choice, Suite, corruptions
from embedshift.augmentations.family import FAMILIES, Family
from embedshift.errors import EmbedshiftError

# The slider goes from 0, the unchanged image, to the suites' strongest level, in steps between the levels.
LEVELS, STEPS = 5, 100


@dataclass(frozen=True)
class Change:
    """One entry of the list of changes."""

    suite: str
    kind: Family | Augmentation

    @property
    def has_strength(self) -> bool:
        return isinstance(self.kind, Family) and len(self.kind.levels) > 1

    def at(self, level: float) -> Augmentation | None:
        """The augmentation at a level, which may lie between those of the suite; None for the unchanged image."""
        if isinstance(self.kind, Augmentation):
            return self.kind
        if not 0 <= level <= LEVELS:
            raise EmbedshiftError(f"{self.kind.name}: give a strength from 0 to {LEVELS}")
        step = round(level * STEPS / LEVELS) if self.has_strength else STEPS
        strength = self.kind.parameter(step, STEPS)
        return None if strength == self.kind.zero else self.kind.at(1, strength)


def all_changes(study_suite: Suite | None = None) -> dict[str, Change]:
    """Every change by its label: the study's own single augmentations first."""
    changes = [Change("study", augmentation) for augmentation in study_suite or () if augmentation.grade is None]
    changes += [Change("everyday", augmentation) for augmentation in SUITES["everyday"](Choice())]
    families = [FAMILIES[name] for name in FAMILIES if name != corruptions.frost.NAME]  # which needs textures
    changes += [Change(family.suite, family) for family in families if family.suite in ("strength", "corruptions")]
    changes += [Change("paper", augmentation) for augmentation in SUITES["paper"](Choice())]
    return {f"{change.suite}: {change.kind.name}": change for change in changes}
