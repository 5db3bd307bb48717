"""Whether two studies, or a study and a run, are the same: by their identity, and by answers on fixed inputs.

Encoders, and functions of a user, are the same where their answers are, up to rounding.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from embedshift.arrays import Floats
from embedshift.store.info import Answer, StudyInfo

ENCODER = "the encoder"
# The largest relative distance of two answers that is rounding: of an encoder by its precision, across instruction
# sets, threads and batches (`benchmarks/answers.py`), and of statistics of a view.
ROUNDING = {"float32": 5e-4, "float16": 1e-2, "bfloat16": 3e-2}
OF_VIEWS = 1e-3
# An unstable encoder's answers may differ by as much again, in other passes.
UNSTABLE = 3


def identity_hash(identity: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def differences(
    then: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "", *, words: tuple[str, str] = ("there", "now")
) -> list[str]:
    lines: list[str] = []
    for key in dict.fromkeys([*then, *now]):
        old, new = then.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            lines += differences(old, new, f"{prefix}{key}.", words=words)
        elif old != new:
            lines.append(f"{prefix}{key}: {_short(old)} {words[0]}, {_short(new)} {words[1]}")
    return lines


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def as_answer(vectors: Floats) -> Answer:
    """Returns `[K, D]` as an answer: seven digits are all that float32 has."""
    return tuple(
        tuple(float(f"{value:.7g}") for value in vector) if np.isfinite(vector).all() else None for vector in vectors
    )


def distance(one: Answer, other: Answer) -> float:
    """Returns the largest L2 distance of two vectors for the same input, relative to the first; 0 if there are none."""
    pairs = [(np.array(a), np.array(b)) for a, b in zip(one, other, strict=False) if a is not None and b is not None]
    if any(len(a) != len(b) for a, b in pairs):
        return math.inf
    moved = ((float(np.linalg.norm(a - b)), float(np.linalg.norm(a))) for a, b in pairs)
    return max((by / (length or 1e-38) for by, length in moved), default=0.0)


def allowed(name: str, precision: str, instability: float = 0.0) -> float:
    rounding = ROUNDING.get(precision, ROUNDING["float32"]) if name == ENCODER else OF_VIEWS
    return max(rounding, UNSTABLE * instability)


def other_answers(stored: StudyInfo, now: Mapping[str, Answer]) -> str | None:
    """Returns what answers otherwise than it did in a study, and by how much; None if nothing does."""
    for name, answer in now.items():
        limit = allowed(name, stored.encoder.precision, stored.encoder.instability)
        if (moved := distance(stored.answers.get(name, ()), answer)) > limit:
            return (
                f"{name} gives other numbers for a fixed test image (relative distance {moved:.2g}, rounding {limit:g})"
            )
    return None


def is_same_encoder(one: StudyInfo, other: StudyInfo) -> bool:
    """Returns whether the embeddings of two studies lie in one space: equal weights, configuration and answers."""
    first, second = one.encoder, other.encoder
    described = [(e.weights_hash, e.embedding, e.dim, dict(e.configuration)) for e in (first, second)]
    if described[0] != described[1]:
        return False
    if (first.size, first.mean, first.std) != (second.size, second.mean, second.std):
        return True  # the test images differ
    limit = max(allowed(ENCODER, encoder.precision, encoder.instability) for encoder in (first, second))
    return distance(one.answers.get(ENCODER, ()), other.answers.get(ENCODER, ())) <= limit
