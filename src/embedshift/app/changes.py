"""What can be done to an image on the page: families with a strength, and single augmentations."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from embedshift.arrays import Pixels
from embedshift.augmentations import SUITES, Augmentation, Choice, Suite, corruptions
from embedshift.augmentations.canvas import Canvas
from embedshift.augmentations.family import FAMILIES, Family
from embedshift.augmentations.views import view_seed
from embedshift.errors import EmbedshiftError
from embedshift.statistics.units import in_words

# The slider has about so many steps, unless its parameter has fewer.
STEPS = 60


@dataclass(frozen=True)
class Change:
    """One entry of the list of changes."""

    suite: str
    name: str
    kind: Family | Augmentation

    @property
    def label(self) -> str:
        return f"{self.suite}: {self.name}"

    @property
    def family(self) -> Family | None:
        """The family; None for an augmentation without strength."""
        return self.kind if isinstance(self.kind, Family) and len(self.kind.levels) > 1 else None

    @property
    def range(self) -> tuple[float, float, float]:
        """The least and the greatest parameter of the slider, and its step; (0, 1, 1) without strength."""
        if self.family is None:
            return 0.0, 1.0, 1.0
        ends = (self.family.zero, *self.family.levels)
        low, high = min(ends), max(ends)
        step = 1.0 if self.family.integer else _round_step((high - low) / STEPS)
        # The least is a multiple of the step, so that the slider reaches the unchanged image from either end.
        return round(math.floor(low / step + 1e-9) * step or step, 10) if low else 0.0, float(high), step

    @property
    def initial(self) -> float:
        """The parameter that is shown first: that of the middle level."""
        levels = self.kind.levels if isinstance(self.kind, Family) else (1.0,)
        return levels[len(levels) // 2]

    def words(self, parameter: float) -> str:
        """The strength in words; "" without strength."""
        if self.family is None:
            return ""
        return "unchanged" if parameter == self.family.zero else in_words(parameter, self.family.unit)

    @property
    def what(self) -> str:
        """One line that says what it is."""
        return self.kind.what_it_does if isinstance(self.kind, Family) else self.kind.description

    @property
    def hint(self) -> str:
        """How the slider is read: its unit, where it leaves the image as it is, and the levels of the suite."""
        if self.family is None:
            return ""
        levels = ", ".join(f"{level:.3g}" for level in self.family.levels)
        return f"{self.family.unit}: {self.family.zero:g} leaves the image as it is; levels of the suite: {levels}"

    def draw(self, original: Pixels | Canvas, name: str, parameter: float, *, seed: int = 0, draw: int = 0) -> Pixels:
        """The view, uint8 `[S, S, 3]`, as a study with this seed draws it of an image with this name."""
        if isinstance(self.kind, Augmentation):
            return Canvas.around(original).draw(self.kind, view_seed(seed, name, self.kind.seed_name, draw))
        if self.family is not None and not math.isfinite(parameter):
            raise EmbedshiftError(f"{self.label}: the strength is no number")
        low, high, _ = self.range
        strength = min(max(float(parameter), low), high) if self.family else self.kind.levels[0]
        strength = float(round(strength)) if self.kind.integer else strength
        seed_name = self.kind.drawn_as or self.kind.name
        return self.kind.draw(original, strength, view_seed(seed, name, seed_name, draw))


def all_changes(study_suite: Suite | None = None) -> dict[str, Change]:
    """Every change by its label: the study's single augmentations first, then families suite by suite."""
    # A user's own names may differ by a line or a space alone, so that they stay as they are.
    changes = [
        Change("study", augmentation.name, augmentation)
        for augmentation in study_suite or ()
        if augmentation.grade is None
    ]
    without_frost = tuple(name for name in corruptions.STANDARD if name != corruptions.frost.NAME)  # needs textures
    changes += _families("strength", SUITES["strength"](Choice()))
    changes += _families("corruptions", SUITES["corruptions"](Choice(families=without_frost)))
    changes += [
        Change(suite, augmentation.name.replace("_", " "), augmentation)
        for suite in ("everyday", "paper")
        for augmentation in SUITES[suite](Choice())
    ]
    return {change.label: change for change in changes}


def chosen(changes: Mapping[str, Change], label: Any) -> Change:
    """A change by its label; an error for anything else that an event may hold."""
    if not isinstance(label, str) or label not in changes:
        raise EmbedshiftError("choose a change from the list")
    return changes[label]


def _families(suite: str, augmentations: Iterable[Augmentation]) -> list[Change]:
    names = dict.fromkeys(view.grade.family for view in augmentations if view.grade)
    return [Change(suite, name.replace("_", " "), FAMILIES[name]) for name in names if name in FAMILIES]


def _round_step(step: float) -> float:
    """The next step of 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(round(times * power, 10) for times in (1, 2, 5, 10) if times * power >= step * (1 - 1e-9))
