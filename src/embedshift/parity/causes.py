"""What explains the distance between a reference and the vectors of another stack."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """An alteration of the reference's steps that brings its vectors nearer to the served ones.

    `alteration` names it in words ("without antialiasing"); `ties` are the alterations that give the same vectors on
    these images. Distances are means of 1 − cosine in float64; `explained` is the fraction of the first distance.
    """

    alteration: str
    distance_before: float
    distance_after: float
    explained: float
    ties: tuple[str, ...] = ()


@dataclass(frozen=True)
class Causes:
    """The named steps; what they leave unexplained (mean of 1 − cosine); the measured floor of rounding; a remark."""

    steps: tuple[Step, ...]
    distance: float
    unexplained: float
    floor: float
    note: str = ""
