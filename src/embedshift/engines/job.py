"""`Job`: the work that an engine gets."""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from embedshift.config import StudyConfig
from embedshift.config.commands import ViewsConfig
from embedshift.config.processes import cores
from embedshift.encoders.spec import EncoderSpec
from embedshift.pipeline.ready import ReadyEncoder
from embedshift.pipeline.shard import Result
from embedshift.pipeline.study_plan import StudyPlan
from embedshift.registry import CODE
from embedshift.sources import Shard, Source

# Counts images: one more, again and again.
Progress = Callable[[int], None]


@dataclass(frozen=True)
class Start:
    """The state of a run before its first image."""

    out: Path
    images: int
    done: int
    complete: bool
    skipped: Mapping[str, int]
    # What the line of progress adds.
    note: Callable[[], str] = str


@dataclass(frozen=True, kw_only=True)
class Job:
    """The work that an engine gets."""

    shards: Sequence[Shard]
    source: Source
    plan: StudyPlan
    spec: EncoderSpec
    ready: ReadyEncoder | None
    progress: Progress

    @property
    def config(self) -> StudyConfig:
        return self.plan.config

    @property
    def workers(self) -> int:
        """Number of loader processes beside each encoder; 0 = the encoder's process draws."""
        return loader_count(self.config)

    @property
    def device(self) -> str:
        """The devices of the encoders; "" = only the user's own encoder, in one process."""
        return "" if self.spec.given is not None or self.config.model.startswith(CODE) else self.config.device

    def with_batch(self, size: int) -> "Job":
        """Returns the job in batches of `size`: a batch that was too large for memory once will be again."""
        return replace(self, plan=replace(self.plan, batch_size=size))

    def with_workers(self, count: int) -> "Job":
        return replace(self, plan=replace(self.plan, config=replace(self.config, workers=count)))


# Yields the rows and the record of each shard as it is done, in any order.
Engine = Callable[[Job], Generator[Result, None, None]]


def no_progress(_images: int) -> None:
    """Takes the place of the progress function, which cannot be sent to other processes."""


def loader_count(config: StudyConfig | ViewsConfig) -> int:
    """Returns the number of loader processes; the default is one per core, at most 8."""
    return min(8, cores()) if config.workers is None else config.workers
