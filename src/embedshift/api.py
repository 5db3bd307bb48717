"""The Python interface: the same words as the command line."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from embedshift.augmentations import Suite, load_suite
from embedshift.comparison import compare
from embedshift.encoders import Encoder, load_encoder
from embedshift.errors import EmbedshiftError
from embedshift.results import Study
from embedshift.study import make_config, run_study
from embedshift.views import make_views

__all__ = ["compare", "load_encoder", "make_views", "run", "wrap"]


def run(
    images: str | Path | Sequence[str | Path],
    *,
    out: str | Path,
    model: str | Encoder = "openai/clip-vit-base-patch32",
    augmentations: str | Mapping[str, Any] = "paper",
    **settings: Any,
) -> Study:
    """Measures how an encoder's embedding and attention move under each augmentation of each image.

    A folder that holds the finished study is left alone; an unfinished one is gone on with.

    Args:
        images: A folder, or several files and folders, or a `.txt` list.
        out: The study's folder.
        model: A registered name, a Hugging Face id, a local folder, a name of open_clip or timm, or any `Encoder`.
        augmentations: A registered suite, or a dict of albumentations transforms or callables
            `(image uint8 [S, S, 3], rng) -> uint8 [S, S, 3]`.
        **settings: Every other setting of `embedshift.study.StudyConfig`: embedding, limit, sample, seed, draws, size,
            resize, shard_size, batch_size, workers, precision, compile, device, engine, num_gpus, concurrency, metrics,
            store, layers, text, labels, words.

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
    paths = [images] if isinstance(images, str | Path) else list(images)
    given: dict[str, Any] = {"images": [str(path) for path in paths], **settings}
    encoder: Encoder | None = None
    suite: Suite | None = None
    if isinstance(model, str):
        given["model"] = model
    elif isinstance(model, Encoder):
        encoder = model
        given["model"] = model.name
        decided = [name for name in ("size", "precision", "device", "embedding") if settings.get(name) is not None]
        if decided:
            raise EmbedshiftError(f"{decided[0]}: {model.name} is loaded already; give it to the encoder", exit_code=2)
    else:
        raise EmbedshiftError(
            f"model: {type(model).__name__} is no encoder; give a name, or embedshift.wrap(module, ...)", exit_code=2
        )
    if isinstance(augmentations, str):
        given["augmentations"] = augmentations
    else:
        suite = load_suite(augmentations)
        given["augmentations"] = "custom"
    return run_study(make_config(given), Path(out), encoder=encoder, suite=suite)


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
