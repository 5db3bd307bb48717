from typing import Any

from embedshift.registry import CODE, METRICS, OWN, QUESTIONS, Question


def _is_asked(config: Any) -> bool:
    known = (METRICS.get(name) for name in config.metrics)
    return any(name.startswith(CODE) for name in config.metrics) or any(own and own.owner == OWN for own in known)


QUESTIONS.add(OWN, Question(__name__, "What do your own metrics say?", order=75, is_asked=_is_asked, for_vectors=False))
