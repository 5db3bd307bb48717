"""Makes options of the command line from dataclasses of settings."""

import dataclasses
import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import typer

from embedshift.config import ColumnNames, CommandOptions, Json
from embedshift.config.safe_files import output_path
from embedshift.errors import UsageError
from embedshift.registry import questions, switch_kinds

RARE, COMMON = "Rarely needed", ("groups", "quiet", "as_json")
# Panels of `run --help` below the first, which has the twenty options that people need.
_PANELS = dict.fromkeys(("config", "no_report", "repair", "describe", "draws", "size", "resize"), "Further")
_PANELS |= dict.fromkeys(("precision", "engine", "workers", "batch_size"), "Speed")


def with_options(*kinds: type, skip: tuple[str, ...] = ()) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command an option for every field of some dataclasses, in place of its `**settings`."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(command)
        own = [each for each in signature.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
        for parameter in own:
            if parameter.name in _PANELS:
                parameter.annotation.__metadata__[0].rich_help_panel = _PANELS[parameter.name]
        fields = [(field, kind) for kind in kinds for field in dataclasses.fields(kind) if field.metadata]
        made = [_parameter(*field) for field in sorted(fields, key=_place)]
        kept = [parameter for parameter in made if parameter.name not in skip]
        ordered = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in (*own, *kept)]
        command.__signature__ = signature.replace(parameters=ordered)  # type: ignore[attr-defined]
        command.__annotations__ = {parameter.name: parameter.annotation for parameter in ordered} | {"return": None}
        return command

    return decorate


def _place(pair: tuple["dataclasses.Field[Any]", type]) -> tuple[bool, int]:
    """Rarely used options come last; before them, those that several commands have, `groups` first."""
    name, is_rare = pair[0].name, pair[0].metadata["rare"]
    return is_rare, COMMON.index(name) if name in COMMON and issubclass(pair[1], CommandOptions) else -1


def rare(words: str) -> Any:
    return typer.Option(help=words, rich_help_panel=RARE)


def output(words: str) -> Any:
    return typer.Option(help=words, parser=output_path, metavar="PATH")


def choices() -> list[type]:
    return [question.choices for question in questions() if question.choices]


def given(settings: Mapping[str, Any]) -> Json:
    return {name: value for name, value in settings.items() if value is not None}


def chosen(kind: type, settings: Mapping[str, Any]) -> Any:
    """Makes a dataclass of settings from the values of its options."""
    flags = {field.name: settings.get(_flag(field)) for field in dataclasses.fields(kind) if field.metadata}
    return kind(**given(flags))


def taken_columns(settings: Json) -> Json:
    """Takes the names of columns out of the settings of a command."""
    return ColumnNames(
        **{field.name: settings.pop(field.name, None) for field in dataclasses.fields(ColumnNames)}
    ).columns


def originals_and_variants(arguments: Sequence[str], pairs: bool) -> Json:
    if not pairs:
        return {"images": [*arguments] or None, "pairs": None}
    if len(arguments) == 1 and Path(arguments[0]).name == "views.json":
        return {"images": [*arguments], "pairs": [*arguments]}
    if len(arguments) < 2:
        raise UsageError(
            "`pairs` needs the originals and at least one folder of variants, --pairs ORIGINALS VARIANTS..., or what "
            "`embedshift views` wrote: --pairs DIR/views.json"
        )
    return {"images": [*arguments[:1]], "pairs": [*arguments[1:]]}


def require_images(settings: Mapping[str, Any]) -> None:
    if not settings.get("images"):
        raise UsageError("no images given: name a folder, files, or a .txt list of paths")
    if "" in settings["images"]:
        raise UsageError("the path of an image is empty: name a folder, files, or a .txt list of paths")


def names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _flag(field: "dataclasses.Field[Any]") -> str:
    return field.metadata["flag"] or field.name


def _parameter(field: "dataclasses.Field[Any]", kind: type) -> inspect.Parameter:
    said, text = field.metadata, field.metadata["words"]
    hint = typing.get_type_hints(kind)[field.name]
    if said["argument"]:
        annotation: Any = Annotated[hint, typer.Argument(metavar=said["argument"], help=text)]
        own = inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default
        return inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=own, annotation=annotation)
    name, is_needed = _flag(field), field.default is ...
    if not is_needed and not any(field.default is nothing for nothing in (None, False, ())) and field.default != "":
        text = f"{text} Default: {field.default}."
    plain: Any = _plain(hint)
    parsed: Json = {"parser": names, "metavar": "NAMES"} if plain is tuple else {}
    if said["output"]:
        parsed = {"parser": output_path, "metavar": "PATH"}
    flags = [f"--{name.replace('_', '-')}", *(["-q"] if name == "quiet" else [])]
    option = typer.Option(*flags, help=text, rich_help_panel=_panel(field, kind), **parsed)
    value: Any = str if plain is tuple else plain
    default = inspect.Parameter.empty if is_needed else None
    annotation = Annotated[value, option]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _panel(field: "dataclasses.Field[Any]", kind: type) -> str | None:
    if not field.metadata["rare"]:
        return _PANELS.get(field.name, "Questions" if kind in switch_kinds() else None)
    if issubclass(kind, CommandOptions):
        return RARE
    question = next((declared.name for declared in questions() if kind in (declared.switches, declared.choices)), "")
    return f"{RARE}: {question}" if question else RARE


def _plain(hint: Any) -> Any:
    """Returns the simple type for a terminal: the first of alternatives, the type of the values of a literal."""
    origin = get_origin(hint)
    if origin is Annotated:
        return _plain(get_args(hint)[0])
    if origin is typing.Literal:
        return type(get_args(hint)[0])
    if origin is list:
        return hint
    if origin in (typing.Union, types.UnionType):
        return _plain(next(alternative for alternative in get_args(hint) if alternative is not type(None)))
    return origin or hint
