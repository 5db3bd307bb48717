"""The specification of a study's encoder, sent to every process that loads one."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from embedshift.config import Precision, StudyConfig
from embedshift.encoders import TITLES, load_encoder, load_text_encoder
from embedshift.encoders.base import (
    Compilable,
    Encoder,
    EncoderInfo,
    HasKernels,
    Observable,
    Preprocess,
    ReadsText,
    TextEncoder,
    usual_batch,
)
from embedshift.encoders.images import ImageEncoder
from embedshift.errors import UsageError
from embedshift.store.info import Answer, EncoderRecord


@dataclass(frozen=True, kw_only=True)
class EncoderSpec:
    config: StudyConfig
    precision: Precision = "float32"
    given: Encoder | None = None
    kernels: tuple[str, ...] | None = None
    observations: tuple[str, ...] = ()
    # Answers at the start of the run, and their largest distance in another pass or batch.
    answers: Mapping[str, Answer] = field(default_factory=dict)
    instability: float = 0.0

    def enter(self, stack: contextlib.ExitStack) -> Encoder:
        encoder = self.load()
        if self.config.compile and not isinstance(encoder, Compilable):
            raise UsageError(f"{encoder.name} cannot be compiled: it has no `compiling`; run without it")
        if isinstance(encoder, HasKernels):
            stack.callback(encoder.use_kernels, encoder.kernels)
            encoder.use_kernels(encoder.kernels if self.kernels is None else self.kernels)
        if self.observations:
            if not isinstance(encoder, Observable):
                names = " and ".join(self.observations)
                raise UsageError(f"{encoder.name} gives no {names}: it has no `observing`, see `Observable`")
            stack.enter_context(encoder.observing(self.observations))
        return encoder

    def load(self) -> Encoder:
        if self.given is not None:
            return self.given
        config = self.config
        encoder = load_encoder(
            config.model,
            device=config.device,
            precision=self.precision,
            size=config.size,
            embedding=config.embedding,
            mean=config.mean,
            std=config.std,
        )
        if self.kernels is not None and isinstance(encoder, HasKernels):
            encoder.use_kernels(self.kernels)
        return encoder

    def text_tower(self, encoder: Encoder) -> TextEncoder | ReadsText:
        if isinstance(encoder, ReadsText):
            return encoder
        if self.given is not None:
            raise UsageError(
                f"{encoder.name} has no text tower: text, labels and words need an encoder with a method "
                "encode_text(texts) -> [N, D], as embedshift.wrap(..., encode_text=...) makes it"
            )
        info = EncoderInfo.of(encoder)
        return load_text_encoder(self.config.model, device=str(info.device), precision=info.precision or self.precision)

    def batch_for(self, encoder: Encoder) -> int:
        if self.config.batch_size is not None:
            return self.config.batch_size
        return usual_batch(str(EncoderInfo.of(encoder).device or "cpu"), encoder.grid)

    def resolved(self, encoder: Encoder) -> "EncoderSpec":
        """Returns the specification with the choices of this process, so that other processes compute alike."""
        precision = EncoderInfo.of(encoder).precision or self.precision
        kernels = self.kernels
        if kernels is None and isinstance(encoder, HasKernels):
            encoder.choose_kernels()
            kernels = encoder.kernels
        return replace(self, precision=precision, kernels=kernels)

    def compiled(self, encoder: Encoder) -> contextlib.AbstractContextManager[None]:
        """Context in which the encoder is compiled if requested; enter it after its observations."""
        if self.config.compile and isinstance(encoder, Compilable):
            return encoder.compiling(self.batch_for(encoder))
        return contextlib.nullcontext()

    def record(self, encoder: Encoder, preprocess: Preprocess) -> EncoderRecord:
        info = EncoderInfo.of(encoder)
        return EncoderRecord(
            name=encoder.name,
            title=TITLES.get(encoder.name),
            revision=info.revision,
            weights_hash=encoder.weights_hash,
            embedding=info.embedding_name,
            embedding_definition=info.embedding_definition,
            dim=encoder.dim,
            grid=encoder.grid,
            size=encoder.size,
            mean=encoder.mean,
            std=encoder.std,
            shortest=preprocess.shortest,
            resample=preprocess.resample,
            precision=info.precision or "float32",
            attention_kind=info.attention_kind,
            kernels=self.kernels,
            takes_images=isinstance(encoder, ImageEncoder),
            configuration=info.configuration or {},
            instability=self.instability,
        )
