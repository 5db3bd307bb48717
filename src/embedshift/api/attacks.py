"""`embedshift.attack`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from embedshift.api.encoders import encoder_object
from embedshift.config import Json, StudyConfig, as_paths
from embedshift.config.attack import make_attack_config
from embedshift.config.files import output_path
from embedshift.encoders import Encoder
from embedshift.engines import Progress
from embedshift.sources.views_file import Attack


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
        >>> found = attack(folder, out=folder / "adv", model=encoder, eps=[8], steps=5)
        >>> found.images["a.png"].cosine["linf-8"] < found.images["a.png"].cosine["control-linf-8"]
        True
    """
    from embedshift.engines.attack import run_attack  # with torch

    encoder_settings: Json = {name: settings[name] for name in ("device", "size", "embedding") if name in settings}
    encoder = encoder_object(model, encoder_settings)
    given = {"images": as_paths(images), **settings}
    given["model"] = model if isinstance(model, str) else model.name
    return run_attack(
        make_attack_config(given), output_path(out), encoder=encoder, progress=progress or (lambda _: None)
    )
