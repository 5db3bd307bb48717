"""The functions that write views as files: `embedshift.write_views` and `embedshift.attack`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from embedshift.config import StudyConfig, ViewsConfig, as_paths, make_attack_config, validated
from embedshift.config.safe_files import output_path
from embedshift.encoders import Encoder
from embedshift.encoders.images import encoder_object
from embedshift.engines import Progress
from embedshift.sources.views_file import Attack, ViewsFile


def write_views(
    images: str | Path | Sequence[str | Path],
    *,
    out: str | Path,
    augmentations: str | Path | Mapping[str, Any] = ViewsConfig.augmentations,
    progress: Progress | None = None,
    **settings: Any,
) -> ViewsFile:
    """Writes the views of images as files, for `run(pairs="DIR/views.json")` and for other programs.

    Args:
        images: As in `run`.
        out: The folder of the files: `original`, one folder for each augmentation, and views.json. What is there from
            an earlier call with the same settings is kept.
        augmentations: As in `run`.
        progress: Called as `progress(n)` whenever n more images are written.
        **settings: Fields of `ViewsConfig`: `families`, `levels`, `frost_textures`, `apply_to` ("file" or "input"),
            `longest`, `size` and `resize` (of the input), `format` ("png", "jpeg", "webp"), `quality`, `limit`,
            `sample`, `seed`, `draws`, `workers`, `image_timeout`.

    Returns:
        The content of views.json: by image the hash of each file, its seed and its parameters, and all failures.

    Raises:
        UsageError: A path is missing, a name or value is not accepted, or the folder holds other views.
        EmbedshiftError: No image was found or written, or the folder cannot be written.

    Example:
        >>> import tempfile, numpy as np
        >>> from PIL import Image
        >>> folder = Path(tempfile.mkdtemp())
        >>> Image.fromarray(np.zeros((8, 12, 3), np.uint8)).save(folder / "a.bmp")
        >>> mirror = {"mirror": lambda image, rng: image[:, ::-1]}
        >>> views = write_views(folder, out=folder.parent / f"{folder.name}-views", augmentations=mirror, workers=0)
        >>> sorted(views.images["a.bmp"].files)
        ['mirror', 'original']
    """
    from embedshift.augmentations import load_suite
    from embedshift.engines.views_file import run_views

    named = isinstance(augmentations, str | Path)
    suite = None if named else load_suite(augmentations)
    given = {"images": as_paths(images), "augmentations": str(augmentations) if named else "custom"}
    config = validated(ViewsConfig, {**given, **settings})
    return run_views(config, output_path(out), suite=suite, progress=progress or (lambda _: None))


def attack(
    images: str | Path | Sequence[str | Path],
    *,
    out: str | Path,
    model: str | Encoder = StudyConfig.model,
    progress: Progress | None = None,
    **settings: Any,
) -> Attack:
    """Searches, for each image, the change within a budget that moves the embedding most.

    The results are folders of originals and variants that `run(pairs=...)` measures on any encoder.

    Args:
        images: As in `run`.
        out: The attack's folder. Results with the same settings that are there already are kept.
        model: As in `run`. An encoder object must be `Differentiable`, as `wrap` makes it.
        progress: Called as `progress(n)` whenever n more images are done.
        **settings: Fields of `AttackConfig`: `norm` ("linf" or "l2"), `eps` (a sequence of budgets: for "linf" whole
            levels of 255, for "l2" the distance of pixel values in [0, 1]), `steps` (from 1), `target`, `through`,
            `limit`, `sample`, `seed`, `size`, `resize`, `device`, `embedding`, `image_timeout`.

    Returns:
        The content of attack.json: for each image the cosine between its embedding and that of each variant.

    Raises:
        UsageError: A path is missing, or a name or value is not accepted.
        EmbedshiftError: No image was found or attacked, or the model cannot be loaded.

    Example:
        >>> import embedshift, tempfile, numpy as np
        >>> from PIL import Image
        >>> from torch import nn
        >>> folder = Path(tempfile.mkdtemp())
        >>> Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)).save(folder / "a.png")
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))
        >>> encoder = embedshift.wrap(net, size=8, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        >>> result = attack(folder, out=folder / "adv", model=encoder, eps=[8], steps=5)
        >>> result.images["a.png"].cosine["linf-8"] < result.images["a.png"].cosine["control-linf-8"]
        True
    """
    from embedshift.engines.attack import run_attack  # with torch

    encoder = encoder_object(model, settings)
    given = {"images": as_paths(images), **settings}
    given["model"] = model if isinstance(model, str) else model.name
    return run_attack(
        make_attack_config(given), output_path(out), encoder=encoder, progress=progress or (lambda _: None)
    )
