"""A run that is stopped and goes on: what a process imports for it is little, so that it starts soon."""

import time
from pathlib import Path
from typing import Any

import numpy as np

from embedshift.arrays import Pixels
from embedshift.config import StudyConfig, make_config
from embedshift.encoders.base import EncoderOutput
from embedshift.runner import run_study
from support.mean_colour import MeanColour

SHARD, VIEWS, BATCH = 6, 5, 2
IMAGES = 2 * SHARD + 1


class Counted(MeanColour):
    """Adds a line to a file for every batch; what it gives for a view depends on the batch in the last bits.

    Args:
        log: The file.
        seconds: That a batch takes.
        most: Batches until it is stopped as by Ctrl-C.
        memory: Views that it has memory for.
    """

    name = "counted"

    def __init__(self, log: Path, *, seconds: float = 0.0, most: int | None = None, memory: int = BATCH) -> None:
        self.log, self.seconds, self.most, self.memory = log, seconds, most, memory

    def __call__(self, views: Pixels) -> EncoderOutput:
        if len(views) > self.memory:
            raise MemoryError("out of memory")
        if self.most is not None and len(self.batches()) >= self.most:
            raise KeyboardInterrupt
        time.sleep(self.seconds)
        output = super().__call__(views)
        assert output.attention is not None
        with open(self.log, "a") as file:
            file.write(f"{len(views)}\n")
        brightness = np.float32(1 + 1e-5 * views.mean())
        # As torch may: the same numbers in another order in memory.
        attention = np.asfortranarray(output.attention * brightness)
        return EncoderOutput(output.embedding * brightness, attention, output.attention_kind)

    def batches(self) -> list[int]:
        """The views of every batch."""
        return [int(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []


def config(images: Path, **settings: Any) -> StudyConfig:
    """Four views of every image beside itself."""
    suite: dict[str, Any] = {"augmentations": "strength", "families": ["jpeg"], "levels": VIEWS - 1}
    sizes = {"shard_size": SHARD, "batch_size": BATCH, "workers": 0}
    return make_config({"images": [str(images)]} | suite | sizes | settings)


def counted(images: Path, out: Path, encoder: Counted, **settings: Any) -> tuple[int, int]:
    """Runs a study; returns the number of images done at its start, and of those that it went through."""
    starts, through = list[Any](), list[int]()
    run_study(config(images, **settings), out, encoder=encoder, on_start=starts.append, progress=through.append)
    return starts[0].done, sum(through)
