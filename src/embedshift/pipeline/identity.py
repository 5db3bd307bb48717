"""The identity of a study: everything that can change a number, and nothing else."""

import hashlib
import importlib.metadata
import json
from collections.abc import Sequence

from embedshift.config import Json
from embedshift.pipeline.plan import Plan
from embedshift.sources.base import SHUFFLED, Shard, storable


def study_identity(plan: Plan, cut: Sequence[Shard], order: str) -> Json:
    """Returns the identity in the form of study.json; runs with equal identity may share a folder."""
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
        "shard_size": config.shard_size,
        "metrics": list(plan.metrics),
        # If images are shuffled one by one, ids and seed determine the order.
        **({} if order == SHUFFLED else {"order": {"kind": order, "hash": _hash(ids)}}),
        **({"compile": True} if config.compile else {}),
        **({"store": config.store} if config.store != "all" else {}),
        "questions": {measure.question: measure.identity() for measure in plan.measures if measure.identity()},
        "versions": {
            "albumentations": importlib.metadata.version("albumentations"),
            "opencv": importlib.metadata.version("opencv-python-headless"),
            "transformers_major": importlib.metadata.version("transformers").split(".")[0],
        },
    }
    as_stored: Json = json.loads(json.dumps(identity))
    return as_stored


def _hash(ids: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()
