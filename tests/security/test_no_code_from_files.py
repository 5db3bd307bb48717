"""No file chooses code: a function is an encoder only where the command line or Python names it."""

import json
import sys

import pytest
from PIL import Image

import embedshift
from embedshift.app.measured import encoder_from_study, load_encoders
from embedshift.config import read_config
from embedshift.encoders.trust import check_sentence_transformer
from embedshift.errors import EmbedshiftError, UsageError
from embedshift.store.info import read_content, write_content
from support import studies
from support.graphs import write_graph

MODEL = "python:hostile_module:encode"


@pytest.fixture(autouse=True)
def marker(tmp_path, monkeypatch):
    """A module in the working folder; importing it leaves a mark."""
    marker = tmp_path / "marker"
    (tmp_path / "hostile_module.py").write_text(
        f"import pathlib\npathlib.Path({str(marker)!r}).touch()\n"
        "def encode(images): return [[1.0, 2.0]] * len(images)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield marker
    sys.modules.pop("hostile_module", None)


def test_settings_from_a_file_cannot_name_code(tmp_path, cli, marker):
    Image.new("RGB", (16, 16)).save(tmp_path / "a.png")
    for content in (f"model: {MODEL}\n", json.dumps({"model": MODEL})):
        (tmp_path / "settings.yaml").write_text(content)
        with pytest.raises(UsageError, match="no file can choose"):
            read_config(tmp_path / "settings.yaml")
        for more in ([], ["--model", "dinov2-small-offline"]):
            done = cli(
                "run", tmp_path / "a.png", "--config", tmp_path / "settings.yaml", "--out", tmp_path / "s", *more
            )
            assert done.code == 2
            assert f"its {MODEL} is code, which no file can choose; name it yourself by --model" in done.line
    assert not marker.exists()
    assert not (tmp_path / "study").exists()


@pytest.mark.slow
def test_the_page_asks_for_code_that_a_study_names(tmp_path, marker):
    folder = studies.copied(studies.plain(), tmp_path / "study").folder
    content = read_content(folder)
    content["config"]["model"] = MODEL
    write_content(folder, content)
    reader = embedshift.load(folder).reader()
    with pytest.raises(UsageError, match=f"{MODEL} is code, which no file can choose"):
        encoder_from_study(reader)
    assert MODEL in str(load_encoders([reader], [], "cpu", {}, []))
    assert not marker.exists()
    with pytest.raises(UsageError, match="not the encoder that"):  # named by whoever starts the page, it is loaded
        encoder_from_study(reader, MODEL)
    assert marker.exists()


def test_the_command_line_and_python_name_it(marker):
    assert not marker.exists()
    assert embedshift.load_encoder(MODEL).dim == 2
    assert marker.exists()


TRANSFORMER = "sentence_transformers.models.Transformer"


def write_modules(folder, kind, path="", **settings):
    folder.mkdir(exist_ok=True)
    (folder / "modules.json").write_text(json.dumps([{"idx": 0, "name": "0", "path": path, "type": kind}]))
    (folder / "sentence_bert_config.json").write_text(json.dumps(settings))
    return folder


@pytest.mark.parametrize(
    ("words", "given"),
    [
        ("names the class own.Module", {"kind": "own.Module"}),
        ("names the class sentence_transformers.models.Dense", {"kind": "sentence_transformers.models.Dense"}),
        ("names the class sentence_transformersx.CLIPModel", {"kind": "sentence_transformersx.CLIPModel"}),
        ("outside its folder (../other)", {"kind": "sentence_transformers.models.CLIPModel", "path": "../other"}),
        ("tokenizer_name_or_path", {"kind": TRANSFORMER, "tokenizer_name_or_path": "/x"}),
        ("base_model_name_or_path", {"kind": TRANSFORMER, "base_model_name_or_path": "/x"}),
        (
            "attn_implementation 'owner/kernels'",
            {"kind": TRANSFORMER, "model_args": {"attn_implementation": "owner/kernels"}},
        ),
        ("gguf_file '../x'", {"kind": TRANSFORMER, "model_args": {"gguf_file": "../x"}}),
        ("trust_remote_code True", {"kind": TRANSFORMER, "config_args": {"trust_remote_code": True}}),
        (
            "method 'save_pretrained'",
            {"kind": TRANSFORMER, "modality_config": {"image": {"method": "save_pretrained"}}},
        ),
        ("10,000,000 layers", {"kind": TRANSFORMER, "vision_config": {"num_hidden_layers": 10_000_000}}),
    ],
)
def test_a_folder_of_sentence_transformers_names_no_code(tmp_path, words, given):
    with pytest.raises(EmbedshiftError) as caught:
        check_sentence_transformer(write_modules(tmp_path / "model", **given))
    assert words in str(caught.value)
    assert str(caught.value).endswith("refused")


def test_a_module_behind_a_link_is_not_read_unchecked(tmp_path):
    folder = write_modules(tmp_path / "model", TRANSFORMER, "0_Transformer")
    write_modules(tmp_path / "other", TRANSFORMER, attn_implementation="owner/kernels")
    (folder / "0_Transformer").symlink_to(tmp_path / "other")
    with pytest.raises(EmbedshiftError, match="0_Transformer: a link to a folder; put the folder itself there"):
        check_sentence_transformer(folder)


def test_a_folder_of_sentence_transformers_has_few_modules(tmp_path):
    rows = [{"type": "sentence_transformers.models.Normalize", "path": f"{number}_Normalize"} for number in range(65)]
    (tmp_path / "modules.json").write_text(json.dumps(rows))
    with pytest.raises(EmbedshiftError, match=r"names 65 modules; refused"):
        check_sentence_transformer(tmp_path)


def test_a_usual_folder_of_sentence_transformers_is_read(tmp_path):
    kinds = (
        "sentence_transformers.models.CLIPModel",
        "sentence_transformers.sentence_transformer.modules.clip_model.CLIPModel",
        "sentence_transformers.base.modules.transformer",
    )
    for kind in kinds:
        method = {"method": "get_image_features", "method_output_name": "pooler_output"}
        check_sentence_transformer(write_modules(tmp_path / "model", kind, modality_config={"image": method}))


def test_a_folder_of_a_graph_runs_no_code_of_its_own(tmp_path, marker):
    """Its image processor may name code; where it alone could prepare images, it is refused."""
    folder = tmp_path / "model"
    write_graph(folder / "model.onnx")
    (folder / "own.py").write_text((tmp_path / "hostile_module.py").read_text())
    settings = {"auto_map": {"AutoImageProcessor": "own.Own"}, "image_processor_type": "Own"}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    with pytest.raises(EmbedshiftError, match="image processor cannot be loaded"):
        embedshift.load_encoder(f"onnx:{folder}")
    assert not marker.exists()
