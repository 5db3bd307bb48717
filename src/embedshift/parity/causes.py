"""What explains the distance between a reference and the vectors of another stack."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from embedshift.arrays import Floats
from embedshift.encoders.base import Encoder, EncoderInfo, Preprocess
from embedshift.encoders.module import ModuleEncoder
from embedshift.sources.images import decode
from embedshift.sources.to_input import ToInput
from embedshift.statistics.vectors import cosine


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


def knows_steps(encoder: Encoder) -> bool:
    """Whether the steps of an encoder are known, so that a cause can be named against it."""
    return isinstance(encoder, ModuleEncoder)


def reference_vectors(encoder: Encoder, files: Sequence[bytes]) -> Floats:
    """Encodes files through the encoder's own steps, `[N, D]`."""
    preprocess = EncoderInfo.of(encoder).preprocess or Preprocess(encoder.size, encoder.mean, encoder.std)
    to_input = ToInput(preprocess.size, "crop", preprocess.shortest, preprocess.resample)
    return np.concatenate([encoder(to_input(decode(file))[None]).embedding for file in files])


def find_causes(encoder: Encoder, files: Sequence[bytes], served: Floats, *, floor: float | None = None) -> Causes:
    """Names the alterations of the encoder's steps that explain the served vectors `[N, D]` of the files."""
    distance = float(np.mean(1 - cosine(reference_vectors(encoder, files), served)))
    return Causes((), distance, distance, floor or 0.0)
