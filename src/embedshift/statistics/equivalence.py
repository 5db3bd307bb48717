"""Whether an alternative is equivalent to a baseline within a user's margins.

Equivalence takes two one-sided tests at 5 %: the 90 % interval lies within the margins (Schuirmann 1987).
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from embedshift.errors import UsageError
from embedshift.statistics.intervals import CONFIDENCE, LEAST_IMAGES, mean_interval
from embedshift.statistics.judged import (
    EQUIVALENT,
    NOT_EQUIVALENT,
    NOT_WORSE,
    ONE_SIDED,
    UNDECIDED,
    Judged,
    p_of_mean,
    verdict,
)
from embedshift.statistics.power import images_for_equivalence, images_to_decide, in_points, times_more
from embedshift.statistics.sample import Estimates
from embedshift.statistics.shift_ratios import t_interval

RELATIVE_SHIFT, RECALL = "relative_shift", "recall@1"


@dataclass(frozen=True)
class Margins:
    """The largest differences that do not matter: a ratio of shifts, a loss of recall@1; None = not asked."""

    shift: float | None = None
    recall: float | None = None

    def __post_init__(self) -> None:
        if self.shift is not None and not 1 < self.shift < 100:
            raise UsageError(f"`shift_margin` {self.shift:g}: give a factor above 1, such as 1.05")
        if self.recall is not None and not 0 < self.recall < 1:
            raise UsageError(f"`recall_margin` {self.recall:g}: give a fraction above 0 and below 1, such as 0.01")

    def within(self, metric: str) -> str:
        """Returns the margin of a metric in words: "5 %" or "1 point"."""
        if metric == RELATIVE_SHIFT:
            return f"{100 * ((self.shift or 1) - 1):.4g} %"
        return in_points(self.recall or 0)


@dataclass(frozen=True)
class Equivalence:
    """A ratio of relative shifts, or a difference in recall@1, over augmentations beside its margin; one-sided ends."""

    metric: str
    value: float
    low: float
    high: float
    outcome: str
    within: str
    groups: int
    needed: int | None = None  # would decide in 80 % of studies
    unit: str = "images"
    p: float = math.nan  # of no difference, two-sided

    @property
    def is_loss(self) -> bool:
        return self.value > 1 if self.metric == RELATIVE_SHIFT else self.value < 0

    @property
    def is_worse(self) -> bool:
        """Whether a loss is certain, but not whether it is within the margin."""
        return self.outcome == UNDECIDED and self.is_loss and self.p <= 1 - CONFIDENCE

    def in_words(self) -> str:
        decided = {EQUIVALENT: "equivalent within", NOT_WORSE: "not worse by more than"}
        decided |= {NOT_EQUIVALENT: "not equivalent within"}
        if self.outcome in decided or self.is_worse:
            return f"{decided.get(self.outcome, 'worse, but not by certainly more than')} {self.within}"
        more = f"about {self.needed:,} {self.unit}" if self.needed else "more images would not decide"
        return f"equivalence within {self.within} is undecided: {more}"


def of_ratio(log_ratio: Estimates, margins: Margins, *, seed: int, unit: str = "images") -> Equivalence:
    """Judges a ratio by the sample of its logarithm, `[1]`: by the wider of Student's and the bootstrap-t's ends.

    Where few images move much, Student's upper end is too low: of 20 images 9 % were falsely called equivalent.
    """
    assert margins.shift is not None
    margin, value, groups = math.log(margins.shift), log_ratio.mean.item(), log_ratio.group_count
    student, drawn = t_interval(log_ratio, ONE_SIDED), mean_interval(log_ratio, seed=seed, level=ONE_SIDED)
    low, high = np.fmin(student[0], drawn[0]).item(), np.fmax(student[1], drawn[1]).item()
    outcome, needed, p = verdict(low, high, margin, gains_count=True), None, p_of_mean(log_ratio).item()
    if outcome == UNDECIDED and log_ratio.error.item() > 0:
        needed = images_for_equivalence(value, log_ratio.error.item() * math.sqrt(groups), margin)
    ends = math.exp(value), math.exp(low), math.exp(high)
    return Equivalence(RELATIVE_SHIFT, *ends, outcome, margins.within(RELATIVE_SHIFT), groups, needed, unit, p)


def of_interval(metric: str, value: float, low: float, high: float, groups: int, margins: Margins) -> Equivalence:
    """Judges a ratio or a difference by an interval that is there, as by a simultaneous one; gains count, too."""
    scale, margin = (math.log, margins.shift) if metric == RELATIVE_SHIFT else (float, margins.recall)
    assert margin is not None
    outcome, needed = verdict(scale(low), scale(high), scale(margin), gains_count=True), None
    if math.isnan(low):
        needed = LEAST_IMAGES if groups < LEAST_IMAGES else None
    elif outcome == UNDECIDED and (away := abs(abs(scale(value)) - scale(margin))) > 0:
        needed = math.ceil(groups * times_more() * ((scale(high) - scale(low)) / 2 / away) ** 2)
    return Equivalence(metric, value, low, high, outcome, margins.within(metric), groups, needed)


def of_recall(judged: Judged, margins: Margins, *, is_same: bool = False, level: float = ONE_SIDED) -> Equivalence:
    """Judges the difference in recall of one number of a judged alternative; that of equal rows is certainly 0."""
    margin = margins.recall
    assert margin is not None

    def outcome_of(images: int | None = None) -> tuple[str, float, float]:
        low, high = (0.0, 0.0) if is_same else (end.item() for end in judged.interval(level, images))
        return verdict(low, high, margin, gains_count=False), low, high

    outcome, low, high = outcome_of()
    value, needed, p = judged.difference.item(), None, judged.p_values().item()
    if math.isnan(low):
        needed = LEAST_IMAGES
    elif outcome == UNDECIDED and abs(value + margin) > 1e-12:
        z = float(ndtri((1 + level) / 2))
        needed = images_to_decide(
            lambda images: outcome_of(images)[0] != UNDECIDED, judged.groups, z, is_certain=not value
        )
    unit = "groups" if judged.is_grouped else "images"
    return Equivalence(RECALL, value, low, high, outcome, margins.within(RECALL), judged.groups, needed, unit, p)
