"""The functions of `embedshift` that make a study (`run`, `from_vectors`) or files (`write_views`, `attack`)."""

import contextlib
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from embedshift.augmentations import ORIGINAL, load_suite
from embedshift.config import (
    ApplyTo,
    Precision,
    Resize,
    ShardSize,
    Store,
    StudyConfig,
    ViewsConfig,
    as_paths,
    declared_settings,
    make_attack_config,
    make_config,
    validated,
)
from embedshift.config.safe_files import output_path, path_text
from embedshift.encoders import Encoder
from embedshift.encoders.images import ImageEncoder, encoder_object
from embedshift.engines import Progress, Start
from embedshift.errors import UsageError
from embedshift.pipeline.vectors import vector_study
from embedshift.registry import metric_names
from embedshift.registry.extras import need_encode
from embedshift.runner import run_study
from embedshift.sources.views_file import Attack, ViewsFile
from embedshift.store.groups import Choice as GroupChoice
from embedshift.study import Study

DEFAULTS = StudyConfig()
# A metric of the user: (views, original) or (embeddings, original) -> numbers `[V]`.
OwnMetric = Callable[[Any, Any], Any]


def run(
    images: str | Path | Sequence[str | Path],
    *,
    out: str | Path,
    model: str | Encoder | ImageEncoder = DEFAULTS.model,
    augmentations: str | Path | Mapping[str, Any] = DEFAULTS.augmentations,
    pairs: str | Path | Sequence[str | Path] | Mapping[str, str | Path] = (),
    allow_missing: bool = DEFAULTS.allow_missing,
    purify: Sequence[str] = DEFAULTS.purify,
    apply_to: ApplyTo | None = None,
    longest: int = DEFAULTS.longest,
    families: Sequence[str] = DEFAULTS.families, levels: int | None = None,
    frost_textures: str | Path | None = None,
    chains: str | Path | int | None = None,
    metrics: Sequence[str | OwnMetric] | Mapping[str, OwnMetric | None] = DEFAULTS.metrics,
    embedding: str | None = None,
    mean: tuple[float, float, float] | None = None,
    std: tuple[float, float, float] | None = None,
    limit: int | None = None, sample: int | None = None,
    until: float | None = None,
    seed: int = DEFAULTS.seed, draws: int = DEFAULTS.draws,
    size: int | None = None,
    resize: Resize | Literal["own"] | None = None,
    precision: Precision | None = None, device: str | None = None,
    engine: str = DEFAULTS.engine, workers: int | None = None,
    batch_size: int | None = None, shard_size: ShardSize = DEFAULTS.shard_size,
    store: Store = DEFAULTS.store,
    groups: GroupChoice | None = None,
    allow_unstable: bool = DEFAULTS.allow_unstable, compile: bool = DEFAULTS.compile,
    num_gpus: float | None = None, concurrency: int | None = None,
    image_timeout: float = DEFAULTS.image_timeout,
    retry_failed: bool = False, repair: bool = False,
    progress: Progress | bool | None = None,
    **switches: object,
) -> Study:  # fmt: skip
    """Measures how an encoder's embedding and attention move under each augmentation of each image.

    The folder `out` holds the study. If it holds a finished study with the same settings, nothing is measured again; if
    it holds an unfinished one, the run continues there. On Linux the process keeps freed memory from the first run on,
    instead of returning it to the system (`embedshift.encoders.device.keep_memory`).

    Args:
        images: A folder, several files and folders, tar or Parquet files, a saved dataset, a URL of these, or a `.txt`
            list with one path or URL a line.
        out: The study's folder; it is created where it is missing.
        model: The name of a registered encoder, a Hugging Face Hub id, a local folder, a name of open_clip or timm
            ("timm:vit_small_patch16_224"), "onnx:PATH", "st:NAME", "hash:phash",
            "python:package.module:function", or any object that satisfies `Encoder` or `ImageEncoder`.
        augmentations: The name of a registered suite, a YAML file of pipelines, or a dict of name → albumentations
            transform or callable `(image uint8 [H, W, 3], rng) -> uint8 [H, W, 3]`.
        pairs: Ready-made variants of the images, measured in place of augmentations: folders or archives, or a mapping
            of name → path; see `embedshift docs pairs`.
        allow_missing: With `pairs`: accept images without a variant.
        purify: With `pairs`: purifiers such as "jpeg:50" and "median:3"; each adds a version of every view.
        apply_to: "input" changes the image at the encoder's size, as the paper does; "file" changes it at its own size,
            and then resizes original and view. Lengths in pixels are then the file's, and fractions of the side those
            of its shorter side.
        longest: With "file": larger images are first reduced to this longest side, in pixels.
        families: Measure only these families or augmentations of the suite; empty = all, or the standard families.
        levels: Of "strength": the number of levels of each family, from 1; None = five.
        frost_textures: Of "corruptions": a folder with images of frost; without it, "frost" is left out.
        chains: Also measure chains of these augmentations: a YAML file with a list of names for each, or how many pairs
            of different families to draw by the seed; see `embedshift docs chains`.
        metrics: Metrics to add: names, or "attention" or "rollout" for all optional ones that need these; and functions
            of your own, in this list or as a mapping of name → function (None = the metric of that name). The name of
            the first parameter decides what a function gets: `(views, original)` pixels, uint8 `[V, S, S, 3]` and
            `[1, S, S, 3]`; `(embeddings, original)` vectors, float32 `[V, D]` and `[1, D]`. It returns one number a
            view, `[V]`; NaN = nothing to compare. No change is `f(x, x)`, and other images lie on its other side.
        embedding: The name of one of the encoder's vectors; None = the first that its encoder family offers.
        mean: For "onnx:PATH" without preprocessor_config.json: mean of each channel, for values in [0, 1].
        std: For such a graph: standard deviation of each channel.
        limit: Measure only the first N images in the order of their ids; None = all.
        sample: Measure N of these images, drawn by the seed; None = all.
        until: A width from 0 to 1, such as 0.1. Images are measured, in the order drawn by the seed, until the 95 %
            interval of every relative shift r ends within `until` x max(0.1, r) of it; `limit` or all images are the
            most. It is tested after every shard, not before 64 images (or 20 groups), or 256 (64) where shifts are
            skewed. A later run without it goes on.
        seed: Decides every draw and the order of the images; 0 or more.
        draws: Views of each image and augmentation, from 1.
        size: Side S of the square views in pixels, from 8; None = the encoder's own.
        resize: "squash" stretches the image to the square; "crop" takes its centre; "own" is what the encoder's library
            does. None = "own" with `apply_to` "file", else "squash".
        precision: "float32", "bfloat16", "float16", or "auto" for the fastest whose embeddings are close to float32;
            None = "float32".
        device: "auto" = CUDA, else MPS, else CPU; or a torch device such as "cuda:1"; None = "auto".
        engine: "local" uses this machine, "ray" a Ray cluster.
        workers: Processes that load images; 0 = this process loads them, None = one per core, at most 8.
        batch_size: Views per forward pass; None = chosen by the device.
        shard_size: Images per shard; "auto" = 64 up to 100,000 images, then up to 1,024; fewer where the rows of a
            shard would take more than 256 MiB.
        store: "all", or "metrics" to store no embeddings, and attention maps of only one image per shard.
        groups: Which images are not independent, such as the frames of a scene: "folder" (one group per parent folder),
            "near" (near-duplicates), "none", a CSV or Parquet file with the columns image_id and group, or a mapping.
            All intervals then resample groups, and only images of different groups are compared with each other.
        allow_unstable: Also measure an encoder or augmentation whose output for one image is not always the same.
        compile: Compile the encoder before measuring.
        num_gpus: With "ray": GPUs for each encoder; None = 1 if the cluster has any.
        concurrency: With "ray": how many encoders run at a time; None = as many as fit.
        image_timeout: Seconds, up to 86,400, for each step of an image: to read it, to decode it, to draw one view.
        retry_failed: Try all failed images again, also in a finished study. Otherwise only a continued run tries
            transient failures again.
        repair: Measure damaged shards again.
        progress: True or False, or a function of the images that are newly done; None = a bar for who waits.
        **switches: Settings of the questions, such as `layers`, `heads`, `text` or `labels`, and those of installed
            packages; `embedshift run --help` lists them.

    Returns:
        The finished study.

    Raises:
        UsageError: A path is missing, or a name or value is not accepted.
        EmbedshiftError: No image was found or measured, the model cannot be loaded, or another run uses the folder. The
            message is one line that says what to do.

    Example:
        >>> import embedshift, tempfile, numpy as np
        >>> from PIL import Image
        >>> from torch import nn
        >>> folder = Path(tempfile.mkdtemp())
        >>> rng = np.random.default_rng(0)
        >>> for name in ("a.png", "b.png"):
        ...     Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(folder / name)
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 4))
        >>> encoder = embedshift.wrap(net, size=32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        >>> mirror = {"mirror": lambda image, rng: image[:, ::-1], "dark": lambda image, rng: image // 2}
        >>> study = run(folder, out=folder / "study", model=encoder, augmentations=mirror, workers=0)
        >>> study.summary()["n"].to_list()[:2]
        [2, 2]
    """
    given = {name: value for name, value in locals().items() if name in declared_settings()}  # the parameters above
    optional = [name for name, parameter in inspect.signature(run).parameters.items() if parameter.default is None]
    given = {name: value for name, value in given.items() if value is not None or name not in optional} | switches
    suite = None if isinstance(augmentations, str | Path) else load_suite(augmentations)
    given |= {"images": as_paths(images), "model": getattr(model, "name", model), "metrics": metric_names(metrics)}
    given["augmentations"] = str(augmentations) if suite is None else "custom"
    if pairs and augmentations == DEFAULTS.augmentations:
        del given["augmentations"]
    if isinstance(groups, Mapping):
        del given["groups"]
    given |= {name: path_text(name, given[name]) for name in ("frost_textures", "groups") if name in given}
    given |= {} if chains is None else {"chains": str(chains)}
    encoder, folder = encoder_object(model, given), output_path(out)
    with shown_progress(progress) as (on_start, step):
        reader = run_study(
            make_config(given), folder, encoder=encoder, suite=suite, groups=groups, progress=step, on_start=on_start,
            retry_failed=retry_failed, repair=repair)  # fmt: skip
    return Study.of(reader)


def from_vectors(
    originals: Any, variants: Mapping[str, Any] | None = None, *, out: str | Path,
    ids: Sequence[str] | str | Path | None = None, groups: GroupChoice | Sequence[object] | None = None,
    columns: Mapping[str, str] | None = None, progress: Progress | bool | None = None, **settings: Any,
) -> Study:  # fmt: skip
    """Makes a study of existing vectors, without reading images or loading an encoder.

    Args:
        originals: Vectors `[N, D]`: an array of NumPy, torch, Polars or pandas, an npy file, or a frame or Parquet file
            with the columns `image_id` and `vector`, where a column `view` may tell originals and variants apart.
            Integers or floats, stored as float32.
        variants: Name of a view → its vectors, in the same forms; arrays in the order of the originals.
        out: As in `run`.
        ids: The image of each row of the arrays, or a text file with one id a line; None = those of the originals, else
            their numbers.
        groups: As in `run`, or for an array of originals the group of each row.
        columns: Names of the columns of tables: keys "id", "view", "vector", "group", "draw", "tile".
        progress: As in `run`.
        **settings: Fields of `VectorsConfig`: `model` (a name), `images`, `views`, `store`, `seed`, `shard_size`.

    Returns:
        The finished study.

    Raises:
        UsageError: Vectors cannot be read, are missing, doubled or zero, or differ in length; a key of `columns` is
            unknown.

    Example:
        >>> import tempfile, numpy as np
        >>> vectors = np.random.default_rng(0).normal(size=(9, 4))
        >>> from_vectors(vectors, {"jpeg": vectors + 0.1}, out=tempfile.mkdtemp()).augmentations
        ['jpeg']
        >>> import polars as pl
        >>> rows = {"sku": [*"aabb"], "kind": ["original", "jpeg"] * 2, "emb": [[1, 0], [1, 1], [0, 1], [1, 2]]}
        >>> names = {"id": "sku", "view": "kind", "vector": "emb"}
        >>> from_vectors(pl.DataFrame(rows), out=tempfile.mkdtemp(), columns=names).info()["counts"]["measured"]
        2
    """
    if not isinstance(variants, Mapping | None):
        raise UsageError(f"variants: give a mapping of name -> vectors, not {type(variants).__name__}")
    given, folder = [(ORIGINAL, originals), *(variants or {}).items()], output_path(out)
    study = vector_study(given, settings, folder, ids=ids, groups=groups, columns=columns)
    with shown_progress(progress) as (on_start, step):
        reader = run_study(**study, out=folder, progress=step, on_start=on_start)
    return Study.of(reader)


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
            `sample`, `seed`, `draws`, `workers`, `image_timeout`. With `restyle`, a model of diffusion: `prompts`,
            `strengths`, `steps`, `batch_size`, `device`.

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
    from embedshift.engines.write_views import run_views

    suite = None if isinstance(augmentations, str | Path) else load_suite(augmentations)
    given = {"images": as_paths(images), "augmentations": str(augmentations) if suite is None else "custom"}
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
    need_encode("attacking an encoder")
    from embedshift.engines.attack import run_attack  # with torch

    encoder = encoder_object(model, settings)
    given = {"images": as_paths(images), **settings}
    given["model"] = model if isinstance(model, str) else model.name
    return run_attack(
        make_attack_config(given), output_path(out), encoder=encoder, progress=progress or (lambda _: None)
    )


@contextlib.contextmanager
def shown_progress(progress: Progress | bool | None) -> Iterator[tuple[Callable[[Start], None], Progress | None]]:
    """Returns functions for the start of a run and for every step; None = a bar in an interactive session."""
    if progress is None:
        shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
        progress = sys.stderr.isatty() or hasattr(shell, "kernel")
    if not isinstance(progress, bool) and not callable(progress):
        raise UsageError(f"progress: give True, False or a function of the number of images, not {progress!r:.60}")
    if progress is not True:
        yield lambda _: None, progress or None
        return
    from tqdm import tqdm

    with tqdm(desc="measuring", unit=" images", file=sys.stderr) as bar:

        def on_start(start: Start) -> None:
            bar.total, bar.n, bar.initial = start.images, start.done, start.done

        yield on_start, bar.update
