"""The Python interface: the same words as the command line."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from embedshift.augmentations import Suite, load_suite
from embedshift.augmentations.views import make_views
from embedshift.config import Json, Precision, Resize, Store, StudyConfig, make_config
from embedshift.config.attack import make_attack_config
from embedshift.encoders import Encoder, load_encoder
from embedshift.engines import Progress
from embedshift.errors import UsageError
from embedshift.sources.attacked import Attack
from embedshift.steps import run_study
from embedshift.study import Study, load
from embedshift.study.comparison import compare
from embedshift.study.gate import check

__all__ = ["Study", "attack", "check", "compare", "load", "load_encoder", "make_views", "run", "wrap"]

DEFAULTS = StudyConfig()


def run(
    images: str | Path | Sequence[str | Path],
    *,
    out: str | Path,
    model: str | Encoder = DEFAULTS.model,
    augmentations: str | Path | Mapping[str, Any] = DEFAULTS.augmentations,
    pairs: str | Path | Sequence[str | Path] | Mapping[str, str | Path] = (),
    allow_missing: bool = DEFAULTS.allow_missing,
    families: Sequence[str] = DEFAULTS.families,
    levels: int | None = None,
    frost_textures: str | Path | None = None,
    metrics: Sequence[str] = DEFAULTS.metrics,
    embedding: str | None = None,
    limit: int | None = None,
    sample: int | None = None,
    seed: int = DEFAULTS.seed,
    draws: int = DEFAULTS.draws,
    size: int | None = None,
    resize: Resize = DEFAULTS.resize,
    precision: Precision | None = None,
    device: str | None = None,
    engine: str = DEFAULTS.engine,
    workers: int | None = None,
    batch_size: int | None = None,
    shard_size: int = DEFAULTS.shard_size,
    store: Store = DEFAULTS.store,
    compile: bool = DEFAULTS.compile,
    num_gpus: float | None = None,
    concurrency: int | None = None,
    image_timeout: float = DEFAULTS.image_timeout,
    retry_failed: bool = False,
    repair: bool = False,
    progress: Progress | None = None,
    **switches: object,
) -> Study:
    """Measures how an encoder's embedding and attention move under each augmentation of each image.

    A folder that holds the finished study is left alone; an unfinished one is gone on with. On Linux, freed memory is
    kept by this process from then on (`embedshift.encoders.device.keep_memory`).

    Args:
        images: A folder, or several files and folders, or a `.txt` list.
        out: The study's folder.
        model: A registered name, a Hugging Face id, a local folder, a name of open_clip or timm, or any `Encoder`.
        augmentations: A registered suite, a YAML file of pipelines, or a dict of albumentations transforms or callables
            `(image uint8 [S, S, 3], rng) -> uint8 [S, S, 3]`.
        pairs: In place of augmentations, what something else made of the images: folders or archives of variants, or a
            mapping of names to them; see `docs/pairs.md`.
        allow_missing: Of pairs: whether an image may lack a variant.
        families: Of "strength" and "corruptions": only these families.
        levels: Of "strength": levels of each family; None = its own five.
        frost_textures: Of "corruptions": a folder with images of frost, without which that one is left out.
        metrics: Optional metrics, or what they need ("attention", "rollout"), beside those that are always measured.
        embedding: Which of the encoder's vectors; None = its first.
        limit: Only the first so many images, by their sorted ids.
        sample: So many images, drawn by the seed.
        seed: Decides every draw, and the order of the images.
        draws: Views per image and augmentation.
        size: Side of the views, in pixels; None = the encoder's own.
        resize: "squash" to the square, or "crop" as the encoder was trained.
        precision: "float32", "bfloat16", "float16", or "auto": the fastest here; None = float32.
        device: "auto", or torch devices with commas; None = auto.
        engine: "local" or "ray".
        workers: Loader processes; None = one a core.
        batch_size: Views per forward pass; None = by device.
        shard_size: Images per shard.
        store: "all", or "metrics": no vectors.
        compile: Whether the encoder is compiled first.
        num_gpus: On a cluster: GPUs of one encoder.
        concurrency: On a cluster: encoders at once.
        image_timeout: Seconds for one step of an image: to read it, to decode it, or to draw one view.
        retry_failed: Whether images that failed are tried again, in a finished study too.
        repair: Whether damaged shards are measured again.
        progress: Called with a number of images whenever so many more are through.
        **switches: The settings of the questions: layers, text, labels, words, and those of other packages.

    Returns:
        The finished study.

    Raises:
        EmbedshiftError: one line that names the thing and says what to do.

    Example:
        >>> import tempfile, numpy as np
        >>> from PIL import Image
        >>> from torch import nn
        >>> folder = Path(tempfile.mkdtemp())
        >>> rng = np.random.default_rng(0)
        >>> for name in ("a.png", "b.png"):
        ...     Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(folder / name)
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 4))
        >>> encoder = wrap(net, size=32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        >>> mirror = {"mirror": lambda image, rng: image[:, ::-1], "dark": lambda image, rng: image // 2}
        >>> study = run(folder, out=folder / "study", model=encoder, augmentations=mirror, workers=0)
        >>> study.summary()["n"].to_list()[:2]
        [2, 2]
    """
    own = {"embedding": embedding, "size": size, "precision": precision, "device": device}
    own = {name: value for name, value in own.items() if value is not None}
    given: Json = own | {
        "images": [str(path) for path in ([images] if isinstance(images, str | Path) else images)],
        "metrics": metrics, "limit": limit, "sample": sample, "seed": seed, "draws": draws, "resize": resize,
        "engine": engine, "workers": workers, "batch_size": batch_size, "shard_size": shard_size, "store": store,
        "compile": compile, "families": families, "levels": levels, "pairs": pairs, "allow_missing": allow_missing,
        "num_gpus": num_gpus, "concurrency": concurrency, "image_timeout": image_timeout,
        "frost_textures": None if frost_textures is None else str(frost_textures),
    } | switches  # fmt: skip
    encoder, suite = _encoder(model, own), _suite(augmentations)
    given["model"] = model if isinstance(model, str) else model.name
    if not pairs or augmentations != DEFAULTS.augmentations:
        given["augmentations"] = str(augmentations) if isinstance(augmentations, str | Path) else "custom"
    run_study(
        make_config(given), Path(out), encoder=encoder, suite=suite, retry_failed=retry_failed, repair=repair,
        progress=progress,
    )  # fmt: skip
    return Study(Path(out))


def attack(
    images: str | Path | Sequence[str | Path],
    *,
    out: str | Path,
    model: str | Encoder = DEFAULTS.model,
    progress: Progress | None = None,
    **settings: Any,
) -> Attack:
    """Makes the worst change of each image within a budget, as originals and variants that `run(pairs=...)` measures.

    Args:
        images: As `run`.
        out: The attack's folder; what is there already, of the same settings, is kept.
        model: As `run`; an encoder of the user's own must be `Differentiable`, as `wrap` makes it.
        progress: Called with a number of images whenever so many more are through.
        **settings: The fields of `AttackConfig`: norm, eps, steps, target, through, limit, sample, seed and others.

    Returns:
        What attack.json says: of every image the cosine that each variant has.

    Raises:
        EmbedshiftError: one line that names the thing and says what to do.

    Example:
        >>> import tempfile, numpy as np
        >>> from PIL import Image
        >>> from torch import nn
        >>> folder = Path(tempfile.mkdtemp())
        >>> Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)).save(folder / "a.png")
        >>> encoder = wrap(nn.Sequential(nn.Flatten(), nn.Linear(192, 4)), size=8, mean=(0.5,) * 3, std=(0.5,) * 3)
        >>> found = attack(folder, out=folder / "adv", model=encoder, eps=[8], steps=5)
        >>> found.images["a.png"].cosine["linf-8"] < found.images["a.png"].cosine["control-linf-8"]
        True
    """
    from embedshift.pipeline.attack.run import run_attack  # with torch

    own: Json = {name: settings[name] for name in ("device", "size", "embedding") if name in settings}
    encoder = _encoder(model, own)
    given = {"images": [str(path) for path in ([images] if isinstance(images, str | Path) else images)], **settings}
    given["model"] = model if isinstance(model, str) else model.name
    return run_attack(make_attack_config(given), Path(out), encoder=encoder, progress=progress or (lambda _: None))


def _encoder(model: str | Encoder, settings: Mapping[str, Any]) -> Encoder | None:
    """An encoder that is loaded already; None for a name."""
    if isinstance(model, str):
        return None
    if not isinstance(model, Encoder):
        raise UsageError(
            f"model: {type(model).__name__} is not an encoder; give a name or embedshift.wrap(module, ...)"
        )
    for name in settings:
        raise UsageError(f"{name}: {model.name} is already loaded; set it when you load the encoder")
    return model


def _suite(augmentations: str | Path | Mapping[str, Any]) -> Suite | None:
    """The user's own augmentations; None for a name or a file."""
    return None if isinstance(augmentations, str | Path) else load_suite(augmentations)


def wrap(module: Any, **settings: Any) -> Encoder:
    """The user's own torch module as an encoder; see `embedshift.encoders.wrap.wrap` for the settings.

    Example:
        >>> from torch import nn
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4))
        >>> wrap(net, size=8, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), name="linear").dim
        4
    """
    from embedshift.encoders.wrap import wrap as wrap_module

    encoder: Encoder = wrap_module(module, **settings)
    return encoder
