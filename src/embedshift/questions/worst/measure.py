"""What the study keeps of the attack that made its variants; nothing is measured beside the embedding."""

import logging

from embedshift.config import Json
from embedshift.errors import UsageError
from embedshift.pipeline.measure import Asked, Measure

log = logging.getLogger(__name__)


class MEASURE(Measure):
    """Nothing for the rows: the words of attack.json for the study's identity.

    Args:
        asked: What the study is about.
    """

    def __init__(self, asked: Asked) -> None:
        super().__init__(asked)
        self._told: Json = {}
        if asked.config.pairs:
            from embedshift.sources.attacked import attack_of  # with pyarrow, which a list of metrics must not wait for

            try:
                self._told = attack_of(asked.config.images, asked.suite.names)
            except UsageError as error:
                log.warning("%s: the report will not say which attack made the variants", error)

    def identity(self) -> Json:
        """The fields of `Told`; empty where no attack made the variants."""
        return self._told
