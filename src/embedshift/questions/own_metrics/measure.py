"""Metrics that are functions of the user: tried on a probe first, then measured like all others."""

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from embedshift.arrays import Pixels, Values
from embedshift.config import Json
from embedshift.errors import EmbedshiftError, UsageError, foreign_code, reason
from embedshift.pipeline.measure import Measure, StudyPlan, StudySwitches
from embedshift.registry import METRICS, Metric, fingerprint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from embedshift.encoders.base import EncoderOutput
    from embedshift.pipeline.drawn import DrawnImage
    from embedshift.sources import ImageRef

# Inputs of the probe, and the digits of what no change gives, beyond which it is rounding.
PROBES, DIGITS = 6, 6


class MEASURE(Measure):
    def __init__(self, asked: StudySwitches) -> None:
        super().__init__(asked)
        self.own = {name: METRICS[name] for name in self.metrics}
        self._identity: Json = {}

    def __setstate__(self, state: Json) -> None:
        vars(self).update(state)
        for name, own in self.own.items():
            METRICS.put(name, own)

    def tried(self, size: int, dim: int) -> "MEASURE":
        """Returns the measure with what its functions give on fixed synthetic images and vectors of the encoder."""
        rng, own, identity = np.random.default_rng(0), dict[str, Metric](), Json()
        pixels: NDArray[Any] = rng.integers(0, 256, (PROBES, size, size, 3), dtype=np.uint8)
        probes = {"pixels": pixels, "embedding": rng.normal(size=(PROBES, dim)).astype(np.float32)}
        for name, metric in self.own.items():
            own[name], answers = _tried(metric, probes[metric.needs])
            METRICS.put(name, own[name])
            identity[name] = {
                "function": fingerprint(metric.function), "of": metric.needs, "no_change": own[name].no_change,
                "rises": not own[name].higher_is_better, "unit": own[name].unit,
            }  # fmt: skip
            identity[f"{name} on the probe"] = answers
        return self.changed(own=own, _identity=identity)

    def identity(self) -> Json:
        return self._identity

    def of_pixels(self, views: Pixels) -> dict[str, Values]:
        return {name: values(self.own[name], views[1:], views[:1]) for name in self.needing("pixels")}

    def of_output(self, image: "DrawnImage", output: "EncoderOutput", plan: StudyPlan) -> dict[str, Values]:
        original = output.embedding[:1]
        embeddings = np.where(np.isnan(output.embedding[1:]), original, output.embedding[1:])  # of missing views
        return {name: values(self.own[name], embeddings, original) for name in self.needing("embedding")}

    def of_pair(
        self, views: Pixels, output: "EncoderOutput", samples: "Sequence[ImageRef]", plan: StudyPlan
    ) -> dict[str, float]:
        inputs: dict[str, NDArray[Any]] = {"pixels": views, "embedding": output.embedding}
        found: dict[str, float] = {}
        for name, own in self.own.items():
            pair = inputs[own.needs]
            with contextlib.suppress(EmbedshiftError):  # the baseline is of the pairs that have a value
                found[name] = float(values(own, pair[1:], pair[:1])[0])
        return found


def values(metric: Metric, views: NDArray[Any], original: NDArray[Any]) -> Values:
    """Calls the function of a metric on copies of V views and the original; EmbedshiftError for what cannot be used."""
    try:
        with foreign_code():
            given = np.asarray(metric.function(views.copy(), original.copy()), np.float64)
    except Exception as error:
        raise EmbedshiftError(f"metric {metric.name!r} failed: {reason(error)}") from error
    if given.shape != (len(views),) or np.isinf(given).any():
        words = f"infinite numbers or shape {given.shape}; it must give {len(views)} finite ones, NaN for no value"
        raise EmbedshiftError(f"metric {metric.name!r} gives {words}")
    return given


def _tried(metric: Metric, probe: NDArray[Any]) -> tuple[Metric, list[str]]:
    try:
        same = np.concatenate([values(metric, probe[i : i + 1], probe[i : i + 1]) for i in range(PROBES)])
        others, again = (values(metric, probe[1:], probe[:1]) for _ in range(2))
        scaled = values(metric, 2 * probe[1:], 2 * probe[:1]) if metric.needs == "embedding" else others
    except EmbedshiftError as error:
        raise UsageError(f"{error} (on a probe of synthetic inputs)") from error
    if not np.array_equal(others, again, equal_nan=True):
        raise UsageError(f"metric {metric.name!r} gives other numbers for the same input; draw nothing at random in it")
    if not np.ptp(same) <= 10**-DIGITS * max(1.0, np.abs(same).max()):
        words = f"from {same.min():g} to {same.max():g} for equal inputs; no change must be one finite number"
        raise UsageError(f"metric {metric.name!r} gives {words}")
    no_change = float(f"{same.mean():.{DIGITS}g}")
    falls = bool(np.nan_to_num(others - no_change).sum() < 0)
    unit = "" if np.allclose(scaled, others, rtol=1e-4, equal_nan=True) else "encoder"
    known = replace(metric, no_change=no_change + 0.0, higher_is_better=falls, unit=unit)
    return known, [f"{value:.4g}" for value in others]
