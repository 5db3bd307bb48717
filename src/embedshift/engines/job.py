"""What an engine is asked to do."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from embedshift.config import StudyConfig
from embedshift.config.machine import cores
from embedshift.encoders.spec import EncoderSpec
from embedshift.pipeline.plan import Plan
from embedshift.pipeline.ready import ReadyEncoder
from embedshift.pipeline.shard import Result
from embedshift.sources import Shard, Source

Progress = Callable[[int], None]


@dataclass(frozen=True, kw_only=True)
class Job:
    """What an engine is asked to do.

    Args:
        shards: What is still to be done.
        source: Reads the bytes.
        plan: What to draw and measure, and the settings.
        spec: Which encoder, for processes that load one of their own.
        ready: The encoder of this process; None = not yet.
        progress: Called with a number of images whenever so many more are through.
        folder: The study's folder, where outputs for unfinished shards are kept; None = they are not.
    """

    shards: Sequence[Shard]
    source: Source
    plan: Plan
    spec: EncoderSpec
    ready: ReadyEncoder | None
    progress: Progress
    folder: Path | None = None

    @property
    def config(self) -> StudyConfig:
        """The settings."""
        return self.plan.config

    @property
    def workers(self) -> int:
        """Loader processes beside each encoder; 0 = draw in the encoder's own process."""
        return workers_of(self.config)

    @property
    def device(self) -> str:
        """The devices that encoders are loaded on; "" = the user's own encoder is all."""
        return self.config.device if self.spec.given is None else ""

    def with_batch(self, size: int) -> "Job":
        """The same in batches of `size`: what was too large for the memory once is too large again."""
        return replace(self, plan=replace(self.plan, batch_size=size))

    def with_workers(self, count: int) -> "Job":
        """The same with so many loader processes."""
        return replace(self, plan=replace(self.plan, config=replace(self.config, workers=count)))


# Yields the rows and the record of each shard as it is done, in any order.
Engine = Callable[[Job], Iterator[Result]]


def workers_of(config: StudyConfig) -> int:
    """Loader processes of a study: where the user names none, one for each core, at most 8.

    With fewer, the encoder's threads on the other cores wait for the one whose core the loader takes.
    """
    return min(8, cores()) if config.workers is None else config.workers
