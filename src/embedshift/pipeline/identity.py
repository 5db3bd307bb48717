"""The identity of a study: everything that can change a number; and answers that identify an encoder."""

import copy
import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from embedshift.arrays import Floats, Pixels
from embedshift.augmentations import Suite
from embedshift.augmentations.augmentation import Augmentation
from embedshift.augmentations.changes import Sides, sides
from embedshift.config import Json
from embedshift.encoders.base import Encoder, EncoderInfo
from embedshift.encoders.images import ImageEncoder, patterns
from embedshift.encoders.spec import EncoderSpec
from embedshift.errors import EmbedshiftError, Transient, UsageError, reason
from embedshift.pipeline.batches import encode_views
from embedshift.pipeline.plan import Plan
from embedshift.registry.extras import cv2, versions
from embedshift.sources.base import SHUFFLED, Shard, storable
from embedshift.store.info import ENCODER, Answer, StudyInfo, allowed, as_answer, distance

log = logging.getLogger(__name__)

IMAGES = 3
# Blocks per side of a view; their means and standard deviations are its answer.
BLOCKS = 8


def study_identity(plan: Plan, cut: Sequence[Shard], order: str) -> Json:
    ids = [storable(sample.image_id) for shard in cut for sample in shard.samples]
    config, encoder = plan.config, plan.encoder
    crop = {"shortest": encoder.shortest, "resample": encoder.resample} if config.resize == "crop" else {}
    identity = {
        "images": {"count": len(ids), "ids_hash": _hash(sorted(ids))},
        "weights_hash": encoder.weights_hash,
        **({"configuration": dict(encoder.configuration)} if encoder.configuration else {}),
        "embedding": encoder.embedding,
        "size": encoder.size,
        "mean": list(encoder.mean),
        "std": list(encoder.std),
        "resize": config.resize,
        "augmentations": plan.suite.describe(),
        "seed": config.seed,
        "draws": config.draws,
        "precision": encoder.precision,
        **crop,
        **({"apply_to": config.apply_to, "longest": config.longest} if config.apply_to != "input" else {}),
        "batch_size": plan.batch_size,
        "shard_size": plan.shard_size,
        "metrics": list(plan.metrics),
        # If images are shuffled singly, ids and seed determine the order.
        **({} if order == SHUFFLED else {"order": {"kind": order, "hash": _hash(ids)}}),
        **({"compile": True} if config.compile else {}),
        **({"store": config.store} if config.store != "all" else {}),
        "questions": {measure.question: measure.identity() for measure in plan.measures if measure.identity()},
        "versions": _versions(),
    }
    as_stored: Json = json.loads(json.dumps(identity))
    return as_stored


def _versions() -> dict[str, str]:
    found = versions(["albumentations", "opencv-python-headless", "transformers"])
    known = {
        "albumentations": found.get("albumentations"),
        "opencv": found.get("opencv-python-headless"),
        "transformers_major": found.get("transformers", "").split(".")[0],
    }
    return {name: version for name, version in known.items() if version}


def _hash(ids: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()


def with_answers(spec: EncoderSpec, encoder: Encoder, suite: Suite, of: Sides) -> EncoderSpec:
    """Returns the specification with all answers; refuses an encoder or augmentation with unstable ones."""
    answer, allow = encoder_answer(encoder), spec.config.allow_unstable
    moved = instability(encoder, answer)
    refuse_unstable(encoder, moved, spec.precision, allow=allow)
    answers = {ENCODER: answer, **augmentation_answers(suite, of, allow=allow)}
    return replace(spec, answers=answers, instability=moved)


def encoder_answer(encoder: Encoder) -> Answer:
    squares = patterns(IMAGES, encoder.size)
    rows = [_embed(encoder, squares)]
    if isinstance(encoder, ImageEncoder):
        rows.append(_embed(encoder, [_oblong(encoder.size)]))
    return as_answer(np.concatenate(rows))


def instability(encoder: Encoder, answer: Answer) -> float:
    """Returns the largest distance between an encoder's first answers and those of another pass or batch."""
    if answer.count(None) == len(answer):
        return 0.0
    squares = patterns(IMAGES, encoder.size)
    again = _embed(encoder, squares)
    apart = np.concatenate([_embed(encoder, squares[[2, 0]]), _embed(encoder, squares[[1]])])[[1, 2, 0]]
    return max(distance(answer[:IMAGES], as_answer(other)) for other in (again, apart))


def refuse_unstable(encoder: Encoder, moved: float, precision: str, *, allow: bool) -> None:
    """Refuses an encoder whose answer depends on the pass or the batch; only warns if that is allowed."""
    if moved <= allowed(ENCODER, precision):
        return
    words = (
        f"{encoder.name}: the embedding of one image depends on the pass, or on the other images of its batch "
        f"(relative distance {moved:.2g})"
    )
    if not allow:
        raise UsageError(
            f"{words}; switch off dropout, noise and batch statistics, or measure it with `allow_unstable`"
        )
    log.warning("%s; shifts of this size mean nothing", words)


def is_of_study(encoder: Encoder, info: StudyInfo) -> bool:
    """Returns whether an encoder, perhaps in another precision, is the encoder of a study."""
    known, record = EncoderInfo.of(encoder), info.encoder
    if (encoder.weights_hash, known.embedding_name) != (record.weights_hash, record.embedding):
        return False
    precisions = (record.precision, known.precision or "float32")
    limit = max(allowed(ENCODER, precision, record.instability) for precision in precisions)
    return distance(info.answers.get(ENCODER, ()), encoder_answer(encoder)) <= limit


def refuse_other(encoder: Encoder, spec: EncoderSpec, place: str) -> None:
    limit = allowed(ENCODER, spec.precision, spec.instability)
    if (first := spec.answers.get(ENCODER)) and (moved := distance(first, encoder_answer(encoder))) > limit:
        raise EmbedshiftError(
            f"{encoder.name} on {place} gives other numbers than where the run began (relative distance {moved:.2g}, "
            f"rounding {limit:g}): other weights or code are installed there; make them equal and run again"
        )


def augmentation_answers(suite: Suite, of: Sides, *, allow: bool) -> dict[str, Answer]:
    answers = dict[str, Answer]()
    if not (own := [augmentation for augmentation in suite if augmentation.is_own]):
        return answers
    height, width = sides(of)
    image = patterns(1, max(height, width))[0, :height, :width]
    for augmentation in own:
        first, second, repeated = (_statistics(augmentation, image, of, seed) for seed in (0, 1, 0))
        answer, again = as_answer(np.stack([first, second])), as_answer(repeated[None])
        if (moved := distance(answer, again)) > 0 and not allow:
            raise UsageError(
                f"augmentation {augmentation.name!r} draws another view from the same seed ({moved:.2g}): it must draw "
                "from its rng alone; mend it, or measure it with `allow_unstable`"
            )
        answers[f"augmentation {augmentation.name!r}"] = answer
    return answers


def _embed(encoder: Encoder, views: Any) -> Floats:
    """Returns the embeddings of a batch; NaN for an image that fails twice, as with services that refuse it."""
    for _ in range(2):
        try:
            # Copies, since an encoder may write into its views.
            embedding = encode_views(encoder, copy.deepcopy(views)).embedding
        except Transient as error:
            raise EmbedshiftError(f"{encoder.name}: {reason(error)}; run the same command again to go on") from error
        except Exception as error:
            log.debug("%s: no answer for a test image (%s)", encoder.name, error)
        else:
            if np.isfinite(embedding).all():
                return embedding
    return np.full((len(views), encoder.dim), np.nan, np.float32)


def _statistics(augmentation: Augmentation, image: Pixels, of: Sides, seed: int) -> Floats:
    """Returns size, and mean and standard deviation of each block of a view; NaN if it cannot be drawn."""
    try:
        view = augmentation.draw(image, seed, any_size=not isinstance(of, int)).astype(np.float32)
    except EmbedshiftError:
        return np.full(2 + 2 * BLOCKS**2 * 3, np.nan, np.float32)
    mean, squares = (cv2.resize(values, (BLOCKS, BLOCKS), interpolation=cv2.INTER_AREA) for values in (view, view**2))
    deviation = np.sqrt(np.maximum(squares - mean**2, 0))
    return np.concatenate([np.array(view.shape[:2], np.float32), mean.ravel(), deviation.ravel()])


def _oblong(side: int) -> Pixels:
    return np.ascontiguousarray(patterns(1, side + side // 2)[0][: side - side // 4])
