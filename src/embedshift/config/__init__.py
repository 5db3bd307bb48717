"""The settings of a study and of other commands: allowed values, and functions that read them."""

import dataclasses
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from annotated_types import Ge, Gt, Le, MaxLen

from embedshift.config.safe_files import as_kind, in_plain_words, path_text, read_yaml
from embedshift.errors import UsageError
from embedshift.registry import CODE, Question, one_of, questions, setting, switch_kinds

S = TypeVar("S")

# A JSON object, such as study.json, a chart, or the row of a table.
Json = dict[str, Any]

# "auto" is a request: an encoder computes in one of the other three.
Precision = Literal["float32", "bfloat16", "float16", "auto"]
Resize = Literal["squash", "crop"]
ApplyTo = Literal["input", "file"]
Store = Literal["all", "metrics"]
AtLeast1 = Annotated[int, Ge(1)]
ShardSize = Literal["auto"] | AtLeast1
# Shard sizes of "auto" by number of images.
FEW_IMAGES, FEW_PER_SHARD = 100_000, 64
Triple = tuple[float, float, float]
Seconds = Annotated[float, Gt(0), Le(86_400)]


@dataclass(frozen=True)
class Level:
    """A level of a family of augmentations: its number, and the strength of the change."""

    family: Annotated[str, MaxLen(1_000)]
    number: AtLeast1
    parameter: float
    unit: Annotated[str, MaxLen(1_000)]
    zero: float


# Default settings of a suite for files.
SUITE_SETTINGS: Mapping[str, Json] = {name: {"apply_to": "file"} for name in ("everyday", "copies")}
# Longest side in pixels up to which a file's image is not reduced.
LONGEST = 1024
# Name of the encoder in the extra `offline`.
BUNDLED = "dinov2-small-offline"
# Name of the augmentations of a study of pairs, and settings that select from suites of augmentations.
PAIRS, DRAWING_SETTINGS = "pairs", ("families", "levels", "frost_textures", "chains")
# Suite of a study of originals alone, sufficient to find duplicates.
NO_AUGMENTATIONS = "none"
# Name of the augmentations of a study of vectors, which reads no image.
VECTORS = "vectors"
# Option of all commands that analyse.
GROUPS_WORDS = "Images that are not independent: folder, near, none, or a CSV or Parquet file (image_id, group)."
# Settings of studies of pairs only.
PAIR_SETTINGS = ("allow_missing", "purify")


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """All settings of a study, under the names of `embedshift.run` and the command line.

    `switches` holds the settings of the questions, an instance of each question's dataclass; `of` returns those of one
    question. `make_config` checks the values.

    Example:
        >>> StudyConfig(images=("photos",), seed=3).seed
        3
    """

    images: tuple[str, ...] = setting(
        (), "A folder, files, tar or Parquet files, a saved dataset, a URL, or a .txt list."
    )
    model: str = setting("openai/clip-vit-base-patch32", "Encoder: Hub id, local folder, or a name in `list encoders`.")
    embedding: str | None = setting(
        None, "Which vector of the encoder. Default: the first of its encoder family.", rare=True
    )
    mean: Triple | None = setting(None, "Of an ONNX graph: mean of the pixels, R,G,B from 0 to 1.", rare=True)
    std: Triple | None = setting(None, "Of an ONNX graph: standard deviation of the pixels, R,G,B.", rare=True)
    augmentations: str = setting("paper", "A suite in `list augmentations`, or a YAML file of pipelines.")
    pairs: tuple[str, ...] = setting((), "Variants of every image instead of augmentations: PATH or NAME=PATH each.")
    allow_missing: bool = setting(False, "With pairs: allow images without a variant.", rare=True)
    purify: tuple[str, ...] = setting((), "With pairs: purifiers, such as jpeg:50,median:3; adds views.", rare=True)
    apply_to: ApplyTo = setting("input", "What changes: input (the image at the encoder's size) or file (at its own).")
    longest: Annotated[int, Ge(32), Le(16_384)] = setting(
        LONGEST, "With apply_to file: longest side in pixels; larger images are reduced first.", rare=True
    )
    families: tuple[str, ...] = setting((), "Families or augmentations of the suite, with commas. Default: all.")
    levels: Annotated[int, Ge(1), Le(1000)] | None = setting(None, "Levels per family of strength. Default: 5.")
    frost_textures: str | None = setting(None, "Folder of frost textures, for corruption frost.", rare=True)
    chains: str | None = setting(
        None, "Also chains of augmentations: a YAML file of lists, or how many pairs to draw: 30.", rare=True
    )
    metrics: tuple[str, ...] = setting(
        (), "Metrics in addition to the six default ones, with commas; yours: python:module:function."
    )
    limit: AtLeast1 | None = setting(None, "Use only the first N images, sorted by id.")
    sample: AtLeast1 | None = setting(None, "Use only N images, drawn by the seed.")
    until: Annotated[float, Gt(0), Le(1)] | None = setting(
        None, "End when every relative shift r is known to within this times r (or 0.1, if r is less): 0.1."
    )
    seed: Annotated[int, Ge(0)] = setting(0, "Seed of all draws and of the order of the images.")
    draws: AtLeast1 = setting(1, "Views per image and augmentation.")
    size: Annotated[int, Ge(8)] | None = setting(None, "Input size in pixels. Default: that of the encoder.")
    resize: Resize | Literal["own"] | None = setting(
        "squash", "How images become square: squash, crop, or own (the encoder's). Default: squash; for files own."
    )
    precision: Precision = setting("float32", "float32, bfloat16, float16, or auto (the fastest).")
    device: str = setting("auto", "auto, cpu, mps, or a GPU such as cuda:1.")
    engine: Literal["local", "ray"] = setting("local", "What runs the shards: local or ray.")
    workers: Annotated[int, Ge(0)] | None = setting(None, "Loader processes. Default: one per core, at most 8.")
    batch_size: AtLeast1 | None = setting(None, "Views per forward pass. Default: depends on the device.")
    shard_size: ShardSize = setting("auto", "Images per shard; auto: 64, and up to 1024 for many images.", rare=True)
    image_timeout: Seconds = setting(60.0, "Time limit in seconds to read, decode or augment an image.", rare=True)
    store: Store = setting("all", "all, or metrics (no embeddings).", rare=True)
    groups: str | None = setting(None, GROUPS_WORDS)
    allow_unstable: bool = setting(
        False, "Also measure an encoder or augmentation whose output for one image is not always the same.", rare=True
    )
    compile: bool = setting(False, "Compile the encoder: takes half a minute, then runs faster.", rare=True)
    num_gpus: Annotated[float, Ge(0)] | None = setting(None, "Ray: GPUs per encoder. Default: 1, if any.", rare=True)
    concurrency: AtLeast1 | None = setting(None, "Ray: number of encoders. Default: as many as fit.", rare=True)
    switches: tuple[Any, ...] = ()

    def of(self, kind: type[S]) -> S:
        """Returns the settings of one question."""
        return next((switches for switches in self.switches if isinstance(switches, kind)), None) or kind()

    def asks(self, question: Question) -> bool:
        """Returns whether the study asks this question."""
        if self.pairs and not question.for_pairs:
            return False
        if self.augmentations == VECTORS and not question.for_vectors:
            return False
        if self.augmentations == NO_AUGMENTATIONS and not question.for_originals:
            return False
        return question.is_asked(self if question.switches is None else self.of(question.switches))

    def questions(self) -> list[Question]:
        """Returns the questions of the study, in order."""
        return [question for question in questions() if self.asks(question)]

    def to_dict(self) -> Json:
        """Returns every setting by name, as study.json stores them."""
        return {
            name: getattr(self if kind is StudyConfig else self.of(kind), name)
            for name, kind in declared_settings().items()
        }


def setting_of_study(name: str, words: str = "") -> Any:
    """Declares a setting that a study also has, with its default; `words` replace its line for `--help`."""
    field = StudyConfig.__dataclass_fields__[name]
    return setting(field.default, words or field.metadata["words"], rare=field.metadata["rare"])


def declared_settings() -> dict[str, type]:
    """Returns each setting of a run → the dataclass that declares it: `StudyConfig`, or the switches of a question."""
    kinds = [StudyConfig, *switch_kinds()]
    return {field.name: kind for kind in kinds for field in dataclasses.fields(kind) if field.metadata}


def make_config(given: Mapping[str, Any]) -> StudyConfig:
    """Makes a checked `StudyConfig`."""
    declared = declared_settings()
    for name in given:
        one_of("setting", str(name), list(declared))
    given = _with_pair_defaults(given)

    def of_kind(kind: type) -> Json:
        return {name: value for name, value in given.items() if declared[name] is kind}

    switches: tuple[Any, ...] = tuple(validated(kind, of_kind(kind)) for kind in switch_kinds())
    config = validated(StudyConfig, {**of_kind(StudyConfig), "switches": switches})
    if config.augmentations == NO_AUGMENTATIONS:
        _refuse_settings_of_views(config)
    return config


def _refuse_settings_of_views(config: StudyConfig) -> None:
    needs_views = {question.switches for question in questions() if not question.for_originals}
    parts = [switches for switches in config.switches if type(switches) in needs_views]
    fields = [(part, field) for part in parts for field in dataclasses.fields(part)]
    fields += [
        (config, field) for field in dataclasses.fields(config) if field.name in ("draws", "metrics", "store", "until")
    ]
    if others := [field.name for part, field in fields if getattr(part, field.name) != field.default]:
        words = ", ".join(f"`{name}`" for name in others)
        raise UsageError(
            f"{words} cannot be combined with `augmentations` none, which measures the embeddings of originals alone"
        )


def _with_pair_defaults(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Fills in `augmentations` for a study of pairs, and refuses settings that draw views."""
    if not given.get("pairs"):
        for name in PAIR_SETTINGS:
            if given.get(name):
                raise UsageError(f"`{name}` needs `pairs`")
        given = {**SUITE_SETTINGS.get(str(given.get("augmentations")), {}), **given}
        if given.get("apply_to") == "file":
            given = {"resize": "own", **given}  # as the encoder's library does it
        if given.get("longest") not in (None, LONGEST) and given.get("apply_to") != "file":
            raise UsageError("`longest` needs `apply_to` file")
        return given
    nothing: Json = {"augmentations": (PAIRS,), "draws": (1,), "apply_to": ("input",)}
    nothing |= dict.fromkeys(DRAWING_SETTINGS, ((), [], None))
    if others := [name for name, values in nothing.items() if name in given and given[name] not in values]:
        words = ", ".join(f"`{name}`" for name in others)
        raise UsageError(
            f"{words} cannot be combined with `pairs`, whose views are read from files; leave one of them out"
        )
    return {"resize": None, **given, "augmentations": PAIRS, "pairs": as_pairs(given["pairs"])}


def as_paths(images: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> list[str]:
    """Converts images given in Python to a list of texts."""
    several = images if isinstance(images, Iterable) and not isinstance(images, str) else [images]
    return [path_text("images", path) for path in several]


def as_pairs(given: Any) -> Any:
    """Converts the setting `pairs` to a list of texts `PATH` or `NAME=PATH`."""
    if isinstance(given, str | os.PathLike):
        return [os.fspath(given)]
    if isinstance(given, Mapping):
        for name in given:
            if not re.fullmatch(r"[^/=]+", str(name)):
                raise UsageError(f"pairs: {name!r} cannot be a name; choose a name without / and =")
        return [f"{name}={path_text('pairs', path)}" for name, path in given.items()]
    return [path_text("pairs", path) for path in (given if isinstance(given, Iterable) else [given])]


def validated(kind: type[S], given: Mapping[str, Any]) -> S:
    """Makes a dataclass of settings from a mapping, with checked names and values."""
    import pydantic  # takes a tenth of a second, which `--help` does not need

    for name in given:
        one_of("setting", str(name), [field.name for field in dataclasses.fields(kind)])  # type: ignore[arg-type]
    try:
        return as_kind(kind, dict(given))
    except pydantic.ValidationError as error:
        # A text after the name is an alternative of its type.
        lines = list[str]()
        for each in error.errors():
            setting, *places = each["loc"]
            place = "".join(f", value {part + 1}," for part in places if isinstance(part, int))
            lines.append(f"`{setting}`{place} {in_plain_words(each['msg'])}")
        raise UsageError("; ".join(lines)) from error


def read_config(file: Path) -> Json:
    """Reads settings from a YAML or JSON file."""
    content = read_yaml(file)
    if not isinstance(content, dict):
        raise UsageError(f"{file}: give settings as 'name: value' lines")
    metrics = content.get("metrics")
    for name in (content.get("model"), *(metrics if isinstance(metrics, list) else [metrics])):
        refuse_code(name, file)
    return {"images": [content.pop("images")], **content} if isinstance(content.get("images"), str) else content


def refuse_code(name: object, file: Path) -> None:
    """Refuses a file that names an encoder or metric in code: only the command line and Python may."""
    if isinstance(name, str) and CODE in name:
        raise UsageError(
            f"{file}: its {name} is code, which no file can choose; name it yourself by `model` or `metrics`"
        )


# Default budget of each norm: "linf" in levels of 255, "l2" of values in [0, 1].
EPS = {"linf": (4.0,), "l2": (1.0,)}
Format = Literal["png", "jpeg", "webp"]


@dataclass(frozen=True, kw_only=True)
class AttackConfig:
    """All settings of an attack, under the names of `embedshift.attack` and the command line."""

    images: tuple[str, ...] = setting_of_study("images")
    model: str = setting_of_study("model")
    embedding: str | None = setting_of_study("embedding")
    norm: Literal["linf", "l2"] = setting("linf", "Norm of the budget: linf or l2.")
    eps: tuple[Annotated[float, Gt(0), Le(255)], ...] = setting(
        (), "Budgets, with commas: linf in levels of 255, l2 for values in [0, 1]. Default: 4 (linf), 1 (l2)."
    )
    steps: Annotated[int, Ge(1), Le(10_000)] = setting(50, "Steps of each method, per image and budget.")
    target: str | None = setting(None, "Image to move the embedding towards. Default: away from the original.")
    through: tuple[str, ...] = setting((), "Purifiers known to the attack, such as jpeg:50; adds a folder for each.")
    limit: AtLeast1 | None = setting_of_study("limit")
    sample: AtLeast1 | None = setting_of_study("sample")
    seed: Annotated[int, Ge(0)] = setting_of_study("seed", "Seed of the starting points and of the random signs.")
    size: Annotated[int, Ge(8)] | None = setting_of_study("size")
    resize: Resize = setting_of_study("resize", "How images become square: squash or crop.")
    device: str = setting_of_study("device", "auto, cpu, mps, or a GPU such as cuda:0.")
    image_timeout: Seconds = setting_of_study("image_timeout", "Time limit in seconds to read or decode an image.")


def make_attack_config(given: Mapping[str, Any]) -> AttackConfig:
    """Makes a checked `AttackConfig`, with each budget and purifier once."""
    config = validated(AttackConfig, given)
    eps = tuple(dict.fromkeys(config.eps)) or EPS[config.norm]
    for budget in eps if config.norm == "linf" else ():
        if budget != int(budget):
            raise UsageError(f"eps {budget:g}: linf counts whole pixel levels; give a whole number from 1 to 255")
    if config.norm == "l2" and min(eps) < 1 / 255:
        raise UsageError(f"eps {min(eps):g}: too small to change a pixel by one level; give l2 at least 1/255")
    return replace(config, eps=eps, through=tuple(dict.fromkeys(config.through)))


@dataclass(frozen=True, kw_only=True)
class ViewsConfig:
    """All settings of written views, under the names of `embedshift.write_views` and the command line."""

    images: tuple[str, ...] = setting_of_study("images")
    augmentations: str = setting_of_study("augmentations")
    families: tuple[str, ...] = setting_of_study("families")
    levels: AtLeast1 | None = setting_of_study("levels")
    frost_textures: str | None = setting_of_study("frost_textures")
    apply_to: ApplyTo = setting("file", "What changes: file (the image at its own size) or input (a square).")
    longest: Annotated[int, Ge(32), Le(16_384)] = setting_of_study("longest")
    size: Annotated[int, Ge(8), Le(16_384)] = setting(224, "With apply_to input: the side of the square in pixels.")
    resize: Resize = setting_of_study("resize", "With apply_to input: how images become square: squash or crop.")
    format: Format = setting("png", "Format of the files: png, or with loss jpeg or webp.")
    quality: Annotated[int, Ge(1), Le(100)] = setting(95, "Of jpeg and webp, from 1 to 100.")
    restyle: str | None = setting(None, "Restyle by diffusion: a folder of diffusers, or a model of the Hub.")
    prompts: str | None = setting(None, "With restyle: YAML file of names and prompts. Default: twelve styles.")
    strengths: tuple[Annotated[float, Ge(0), Le(1)], ...] = setting(
        (0.0, 0.2, 0.4, 0.6), "With restyle: strengths, such as 0,.2,.4; 0 is the model's VAE alone."
    )
    steps: Annotated[int, Ge(1), Le(1_000)] = setting(30, "With restyle: steps of denoising at strength 1.")
    batch_size: AtLeast1 = setting(1, "With restyle: views of an image in one pass.")
    device: str = setting_of_study("device", "With restyle: auto, cpu, mps, or a GPU such as cuda:0.")
    limit: AtLeast1 | None = setting_of_study("limit")
    sample: AtLeast1 | None = setting_of_study("sample")
    seed: Annotated[int, Ge(0)] = setting_of_study("seed", "Seed of all draws.")
    draws: AtLeast1 = setting_of_study("draws")
    workers: Annotated[int, Ge(0)] | None = setting_of_study("workers", "Processes. Default: one per core, at most 8.")
    image_timeout: Seconds = setting_of_study("image_timeout")


@dataclass(frozen=True, kw_only=True)
class VectorsConfig:
    """All settings of a study of vectors, under the names of `embedshift.from_vectors` and the command line."""

    ids: str | None = setting(None, "File of the ids of the images, one per line, for the rows of npy files.")
    views: str | None = setting(None, "views.json of `embedshift views`: checks ids, adds families and levels.")
    images: str | None = setting(None, "Where the images are, to show them: as for `run`.")
    model: str = setting(VECTORS, "Name of the encoder: studies with one name count as studies of one encoder.")
    store: Store = setting_of_study("store")
    groups: str | None = setting_of_study("groups")
    seed: int = setting_of_study("seed", "Seed of the order of the images and of all draws.")
    shard_size: ShardSize = setting_of_study("shard_size")


@dataclass(frozen=True, kw_only=True)
class CommandOptions:
    """The options of every command about finished studies; a command adds its own."""

    quiet: bool = setting(False, "Print only warnings and errors on stderr.")
    as_json: bool = setting(False, "Print one JSON object on stdout.", flag="json")


@dataclass(frozen=True, kw_only=True)
class GroupedOptions(CommandOptions):
    """The same, of a command whose intervals resample groups of images."""

    groups: str | None = setting(None, GROUPS_WORDS)


@dataclass(frozen=True, kw_only=True)
class ColumnNames:
    """Options for the names of the columns of tables of vectors."""

    id_column: str | None = setting(None, "Column of ids of images. Default: image_id.", rare=True)
    view_column: str | None = setting(None, "Column of views. Default: view.", rare=True)
    vector_column: str | None = setting(None, "Column of vectors. Default: vector, or embedding.", rare=True)
    group_column: str | None = setting(None, "Column of groups. Default: group.", rare=True)
    draw_column: str | None = setting(None, "Column of numbers of draws. Default: draw.", rare=True)
    tile_column: str | None = setting(None, "Column of numbers of tiles. Default: tile.", rare=True)

    @property
    def columns(self) -> Json:
        """The names that are given, by the keys of `columns` in Python."""
        names = [field.name for field in dataclasses.fields(ColumnNames)]
        return {name.removesuffix("_column"): name_ for name in names if (name_ := getattr(self, name)) is not None}
