"""Folders of models by an attacker, or that are no models: nothing in them runs, asks, hangs or reads other files."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import embedshift
from embedshift import EmbedshiftError, load_encoder
from embedshift.encoders import load_text_encoder
from embedshift.encoders.families import ENCODER_FAMILIES
from embedshift.encoders.folder import SETTINGS_BYTES
from support import fuzz, models
from support.corpus import make_socket
from support.library_models import make_open_clip, make_timm, write_open_clip
from support.network import no_network
from support.refusals import refused
from support.tokenizers_made import make_clip, save_tokenizer

pytestmark = pytest.mark.slow

OWN = """
import pathlib
pathlib.Path({marker!r}).touch()
from transformers import CLIPConfig, CLIPModel, PreTrainedTokenizerFast
class OwnConfig(CLIPConfig): pass
class OwnModel(CLIPModel): pass
class OwnTokenizer(PreTrainedTokenizerFast): pass
"""
AUTO = {"AutoConfig": "own.OwnConfig", "AutoModel": "own.OwnModel"}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("models")
    make_clip(root / "clip")
    make_open_clip(root / "open_clip")
    make_timm(root / "timm")
    return root


@pytest.fixture
def marker(tmp_path, monkeypatch) -> Path:
    """What the attacker's code would make; nobody is asked whether it may run, and nothing is asked of the network."""
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked whether to run the checkpoint's code"))
    marker = tmp_path / "marker"
    with no_network() as tried:
        yield marker
    assert not marker.exists()
    assert tried == []


@pytest.fixture
def copy(made, marker, tmp_path):
    """A model with the attacker's code in it, named by its tokenizer's settings."""

    def of(kind: str) -> Path:
        folder = shutil.copytree(made / kind, tmp_path / kind)
        (folder / "own.py").write_text(OWN.format(marker=str(marker)))
        save_tokenizer(folder)
        change(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": [None, "own.OwnTokenizer"]})
        return folder

    return of


@pytest.fixture
def plain(made, tmp_path):
    """A model as it was made; a load that waits for a FIFO is a failure, not a hang."""
    with fuzz.within(60), no_network() as tried:
        yield lambda kind: shutil.copytree(made / kind, tmp_path / kind)
    assert tried == []


def change(file: Path, **more) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | more))


def test_the_payload_does_work(copy, marker):
    import transformers

    folder = copy("clip")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(folder / "cache"))
        transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
    assert marker.exists()
    marker.unlink()


def test_a_tokenizer_of_open_clip_cannot_ask_for_code(copy, tmp_path):
    folder = copy("open_clip")
    for words in (
        {"trust_remote_code": True},
        {"clean": "lower", "gguf_file": "a.gguf"},
        {"bpe_path": "/etc/hostname"},
    ):
        write_open_clip(folder, text={"hf_tokenizer_name": "x", "tokenizer_kwargs": words})
        refused(folder, "for the tokenizer; refused", load=load_text_encoder)
        refused(folder, "for the tokenizer; refused")
    with pytest.raises(EmbedshiftError, match="'bpe_path' for the tokenizer; refused"):
        embedshift.run(
            models.pictures(tmp_path / "p", 1), out=tmp_path / "s", model=str(folder), labels=["a", "b"], workers=0
        )
    # Without the key the code is passed over; where it alone could read texts, transformers would ask.
    write_open_clip(folder, text={"hf_tokenizer_name": "x"})
    assert load_text_encoder(str(folder))(["a photo"]).shape == (1, 20)
    change(folder / "tokenizer_config.json", tokenizer_class="OwnTokenizer")
    refused(folder, "custom code", load=load_text_encoder)


def test_a_tokenizer_of_open_clip_with_its_own_files_is_read(made, tmp_path):
    folder = save_tokenizer(shutil.copytree(made / "open_clip", tmp_path / "mine"))
    write_open_clip(folder, text={"hf_tokenizer_name": "x", "tokenizer_kwargs": {"clean": "canonicalize"}})
    assert load_text_encoder(str(folder))(["a photo", "a boat"]).shape == (2, 20)
    # This tokenizer has no such token, of which open_clip makes a TypeError.
    write_open_clip(folder, text={"hf_tokenizer_name": "x", "tokenizer_kwargs": {"strip_sep_token": True}})
    refused(folder, "its text tower cannot encode a text", load=load_text_encoder)


def test_a_hub_model_of_open_clip_is_held_to_the_same(copy, monkeypatch):
    """Its files come from the Hub; from there they take the way of a local folder's."""
    folder = copy("open_clip")
    monkeypatch.setattr("embedshift.encoders.libraries.hub_answers", lambda: True)
    names = {"filename": "open_clip_config.json"}
    monkeypatch.setattr(
        "open_clip.pretrained.download_pretrained_from_hf",
        lambda _place, **given: str(
            folder / ("open_clip_config.json" if given == names else "open_clip_model.safetensors")
        ),
    )
    monkeypatch.setattr(
        "open_clip.factory._get_hf_config", lambda *_, **__: json.loads((folder / "open_clip_config.json").read_text())
    )
    write_open_clip(folder, text={"hf_tokenizer_name": str(folder), "tokenizer_kwargs": {"trust_remote_code": True}})
    refused("open_clip:hf-hub:owner/model", "'trust_remote_code'", load=load_text_encoder)
    write_open_clip(folder, text={"hf_tokenizer_name": str(folder)})
    change(folder / "tokenizer_config.json", tokenizer_class="OwnTokenizer")
    refused("open_clip:hf-hub:owner/model", "custom code", load=load_text_encoder)


def test_a_tower_of_another_model_needs_no_network(copy):
    folder = copy("open_clip")
    write_open_clip(folder, vision={"timm_model_name": "hf-hub:owner/model"})
    refused(folder, "timm_model_name 'hf-hub:owner/model' is a path or URL")
    write_open_clip(folder, vision={"timm_model_name": f"local-dir:{folder}"})
    refused(folder, "is a path or URL, not a timm model name; refused")
    write_open_clip(folder, text={"hf_model_name": "owner/model"})
    refused(folder, "'owner/model'", "a local model does not use the network", load=load_text_encoder)
    write_open_clip(folder, text={"hf_model_name": str(folder)})
    refused(folder, "is a path or URL, not a model name; refused", load=load_text_encoder)


def test_code_named_by_a_part_of_a_configuration(copy):
    folder = copy("clip")
    config = json.loads((folder / "config.json").read_text())
    for part in ("vision_config", "text_config"):
        config[part] |= {"auto_map": AUTO}
    change(folder / "config.json", **config, auto_map=AUTO, custom_pipelines={"a": {"impl": "own.OwnModel"}})
    change(
        folder / "preprocessor_config.json", auto_map={"AutoImageProcessor": "own.OwnModel"}, image_processor_type="Own"
    )
    (folder / "custom_generate").mkdir()
    shutil.copy(folder / "own.py", folder / "custom_generate" / "generate.py")
    assert load_encoder(str(folder)).dim == 20
    assert load_text_encoder(str(folder)).dim == 20
    change(folder / "tokenizer_config.json", tokenizer_class="OwnTokenizer")
    assert load_text_encoder(str(folder)).dim == 20
    change(folder / "config.json", model_type="a-new-type")
    types = [kind for family in ENCODER_FAMILIES for kind in family.model_types]
    refused(folder, "'a-new-type' is not supported", "Supported:", *types)


def test_a_language_model_that_only_its_own_code_knows(copy):
    """Idefics2 makes its language model by whatever name its configuration has."""
    from support.family_models import CASES, save

    folder = copy("clip")
    save(next(case for case in CASES if case.kind == "idefics2"), folder)
    config = json.loads((folder / "config.json").read_text())
    config["text_config"] = {"model_type": "siglip_vision_model", "auto_map": AUTO, "hidden_size": 24}
    change(folder / "config.json", **config)
    for kind in ("encoder-decoder", "timm_wrapper"):
        config["text_config"] |= {"model_type": kind, "architecture": "hf-hub:owner/model"}
        change(folder / "config.json", **config)
        with pytest.raises(EmbedshiftError):
            load_encoder(str(folder))


def test_kernels_are_not_the_checkpoints_choice(copy):
    folder = copy("clip")
    plain = load_encoder(str(folder)).module.config._attn_implementation
    config = json.loads((folder / "config.json").read_text())
    for key in ("attn_implementation", "_attn_implementation", "_attn_implementation_internal"):
        for part in ("vision_config", "text_config"):
            config[part] |= {key: "owner/kernel"}
        change(folder / "config.json", **config, **{key: "owner/kernel"})
        assert load_encoder(str(folder)).module.config._attn_implementation == plain


@pytest.mark.parametrize("method", ["bitsandbytes", "own"])
def test_quantized_weights_are_refused(method, copy):
    folder = copy("clip")
    quantized = {"quant_method": method, "load_in_8bit": True, "bits": 4}
    change(folder / "config.json", quantization_config=quantized)
    refused(folder, "its weights are quantized; give a checkpoint with full-precision weights")


def test_weights_lie_in_the_folder(copy, tmp_path):
    folder = copy("clip")
    shutil.move(folder / "model.safetensors", tmp_path / "outside.safetensors")
    names = load_file(tmp_path / "outside.safetensors")
    for place in ("../outside.safetensors", str(tmp_path / "outside.safetensors")):
        index = {"metadata": {}, "weight_map": dict.fromkeys(names, place)}
        for file in ("model.safetensors.index.json", "pytorch_model.bin.index.json"):
            (folder / file).write_text(json.dumps(index))
            refused(folder, f"{file} names weights outside its folder", place)
            (folder / file).unlink()
    for content, words in (("[]", "is not an index of weights"), ("[" * 100_000, "JSON that is nested too deeply")):
        (folder / "model.safetensors.index.json").write_text(content)
        refused(folder, words)
    (folder / "model.safetensors.index.json").unlink()
    change(folder / "config.json", transformers_weights="../outside.safetensors")
    refused(folder, "its weights cannot be loaded")


def test_an_adapter_is_refused(copy):
    folder = copy("clip")
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "owner/model", "peft_type": "LORA"}')
    refused(folder, "the folder also contains an adapter")


def test_a_folder_of_timm_cannot_have_weights_filled_at_random(copy):
    folder = copy("timm")
    assert load_encoder(str(folder)).dim == 32
    weights = load_file(folder / "model.safetensors")
    weights.pop("blocks.0.mlp.fc1.weight")
    save_file(weights, folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    for told in ({"pretrained_strict": False}, {"num_classes": 7}):
        change(folder / "config.json", model_args=config["model_args"] | told)
        refused(folder, "its model_args would create random weights; refused")


@pytest.mark.parametrize("kind", ["clip", "open_clip", "timm"])
def test_a_pickle_is_read_as_weights_only_and_says_so(kind, copy, marker, caplog):
    caplog.set_level("INFO", logger="embedshift")
    folder = copy(kind)
    file = next(folder.glob("*.safetensors"))
    weights = load_file(file)
    file.unlink()
    pickled = folder / ("open_clip_pytorch_model.bin" if kind == "open_clip" else "pytorch_model.bin")
    torch.save(weights, pickled)
    assert load_encoder(str(folder)).dim in (20, 32)
    assert "no safetensors file; its pickle" in caplog.text

    class Payload:
        def __reduce__(self):
            return Path.touch, (marker,)

    torch.save(weights | {"extra": Payload()}, pickled)
    more = " (its pickle is damaged or holds more than weights; give safetensors)" if kind == "clip" else ""
    refused(folder, f"cannot be loaded{more}")
    assert not marker.exists()
    torch.load(pickled, weights_only=False)  # the payload does work
    marker.unlink()


# What is no model: one line within seconds, and none is measured with a default.

NO_FILES = {
    "a FIFO, not a file": os.mkfifo,
    "a device, not a file": lambda file: file.symlink_to("/dev/zero"),
    "Is a directory": Path.mkdir,
    "a link to nothing; restore the file or remove the link": lambda file: file.symlink_to(file.parent / "not there"),
    "symbolic links": lambda file: file.symlink_to(file),
    "a socket, not a file": make_socket,
}
BAD_JSON = {
    "JSON that is nested too deeply; refused": lambda file: file.write_bytes(b"[" * 300_000),
    "JSON that is nested too deeply": lambda file: file.write_bytes(b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    "larger than 16 MB (16.0 MB)": lambda file: file.touch() or os.truncate(file, SETTINGS_BYTES + 1),
}
LIBRARY = {"clip": "", "open_clip": "open_clip:local-dir:", "timm": "timm:local-dir:"}
# What each kind of model reads; weights and words are no JSON of settings.
FILES = [
    ("clip", "config.json"), ("open_clip", "open_clip_config.json"), ("timm", "config.json"),
    ("clip", "preprocessor_config.json"), ("clip", "processor_config.json"), ("clip", "model.safetensors.index.json"),
    ("clip", "adapter_config.json"), ("clip", "model.safetensors"), ("clip", "tokenizer.json"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "name"), FILES)
def test_what_cannot_be_read_is_one_line(plain, kind, name):
    """And never passed over: a preprocessor that is no file would else be CLIP's published mean."""
    model = plain(kind)
    is_settings = name not in ("model.safetensors", "tokenizer.json")
    for words, place in (NO_FILES | (BAD_JSON if is_settings else {})).items():
        if (model / name).is_dir() and not (model / name).is_symlink():
            (model / name).rmdir()
        (model / name).unlink(missing_ok=True)
        place(model / name)
        for library in {"", LIBRARY[kind]}:
            refused(f"{library}{model}", f"{name}: ", words)
        if not is_settings:
            refused(model, f"{name}: ", words, load=load_text_encoder)


def test_a_preprocessor_is_read(plain):
    model = plain("clip")
    (model / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.1, 0.2, 0.3]}))
    assert tuple(load_encoder(str(model)).preprocess.mean) == (0.1, 0.2, 0.3)


@pytest.mark.parametrize("depth", [100, 900, 2_000])
def test_any_depth_is_read_or_one_line(plain, depth):
    model = plain("clip")
    config = (model / "config.json").read_text().rstrip()
    (model / "config.json").write_text(config[:-1] + ', "deep": ' + "[" * depth + "]" * depth + "}")
    try:
        load_encoder(str(model))
    except EmbedshiftError as error:
        assert "\n" not in str(error)  # noqa: PT017


SENSELESS = [
    "", "[]", "3", "{", "\x00", '{"image_mean": NaN}', '{"image_mean": [1, 2]}', '{"image_mean": "x"}',
    '{"image_mean": [1e999, 0, 0]}', '{"image_std": [0, 0, 0]}', '{"size": {"height": []}}', '{"size": "big"}',
    '{"size": -1}', '{"size": 100000}', '{"resample": 99}', '{"crop_size": [[]]}',
]  # fmt: skip


def test_what_makes_no_sense_is_one_line(plain):
    model = plain("clip")
    for content in SENSELESS:
        (model / "preprocessor_config.json").write_text(content)
        refused(model, "preprocessor_config.json")
    (model / "preprocessor_config.json").unlink()
    for content in (b"", b"\0" * 100, (2**62).to_bytes(8, "little") + b"{}"):
        (model / "model.safetensors").write_bytes(content)
        refused(model, "its weights cannot be loaded")


def test_a_preprocessor_that_may_not_be_read_is_one_line(plain, monkeypatch):
    """As for a user without the right, which root always has."""
    model = plain("clip")
    read = os.open

    def may_not(path, *arguments, **more):
        if os.fspath(path).endswith("preprocessor_config.json"):
            raise PermissionError(13, "Permission denied")
        return read(path, *arguments, **more)

    monkeypatch.setattr(os, "open", may_not)
    refused(model, "preprocessor_config.json: Permission denied")


def test_what_no_loader_reads_may_be_anything(plain, made):
    model = plain("clip")
    os.mkfifo(model / "notes")
    (model / "onnx").mkdir()
    (model / "onnx" / "config.json").mkdir()
    for number in range(500):
        (model / f"{number}.json").write_text("{")
    assert load_encoder(str(model)).weights_hash == load_encoder(str(made / "clip")).weights_hash


def test_millions_of_layers_are_refused_before_one_is_made(plain):
    model = plain("clip")
    vision = json.loads((model / "config.json").read_text())["vision_config"]
    change(model / "config.json", vision_config=vision | {"num_hidden_layers": 10_000_000})
    refused(model, "its configuration names 10,000,000 layers; refused")
