"""What every block adds to the distance of the mean patch from the original's."""

import numpy as np

from embedshift.pipeline.measure import Column, Measure, StudySwitches
from embedshift.registry import metric

LOOK = {"no_change": 0.0, "low": 0.0, "high": np.inf, "higher_is_better": False}


@metric("largest jump", "layers", **LOOK, unit="encoder", optional=True, asked_by="jumps")
def largest_jump(original, views):
    """The most that one block adds to the distance between two images, `[..., L, W]` → `[...]`.

    Example:
        >>> largest_jump([[[0.0], [0.0]]], [[[1.0], [5.0]]]).tolist()
        [4.0]
    """
    return jumps(original, views).max(axis=-1)


def jumps(original, views):
    """Differences of the distance from block to block, from 0 before the first, `[..., L]`."""
    far = np.linalg.norm(np.asarray(views, float) - np.asarray(original, float), axis=-1)
    return np.diff(far, axis=-1, prepend=0.0)


class MEASURE(Measure):
    """One number and one list for every view."""

    observations = ("layers",)

    def __init__(self, asked: StudySwitches) -> None:
        super().__init__(asked)
        self.metrics = ("largest_jump",)

    def columns(self, probe):
        """A list over the blocks."""
        return [Column("jumps", probe.layers.shape[1])]

    def of_output(self, image, output, plan):
        """Original against views, by the mean patch."""
        states = output.layers[:, :, -1]
        return {"largest_jump": largest_jump(states[:1], states[1:]), "jumps": jumps(states[:1], states[1:])}
