"""What a study keeps of the attack that made its variants, and how far natural changes move the same originals."""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from embedshift.config import Json
from embedshift.errors import UsageError
from embedshift.pipeline.measure import Column, Measure, StudySwitches
from embedshift.questions.worst_case import NATURAL, SUITE

if TYPE_CHECKING:
    from embedshift.encoders.base import EncoderOutput

log = logging.getLogger(__name__)


class MEASURE(Measure):
    """The content of attack.json for the study's identity; if an attack made the variants, natural changes too."""

    def __init__(self, study: StudySwitches) -> None:
        super().__init__(study)
        self.seed, self.natural = study.config.seed, tuple[str, ...]()
        self._attack: Json = {}
        if study.config.pairs:
            # Imported here because they import pyarrow, for which a list of metrics must not wait.
            from embedshift.sources.pairs import named_variants
            from embedshift.sources.views_file import attack_identity

            try:
                self._attack = attack_identity(study.config.images, named_variants(study.config.pairs))
            except UsageError as error:
                log.warning("%s: the report cannot name the attack that made the variants", error)

        if self._attack:
            from embedshift.augmentations import load_suite

            self.natural = tuple(load_suite(SUITE).names)

    def columns(self, probe: "EncoderOutput | None") -> Sequence[Column]:
        return [Column(NATURAL, len(self.natural), of="original")] if self.natural else []

    def identity(self) -> Json:
        """Returns the fields of `AttackRecord`; empty if no attack made the variants."""
        return self._attack
