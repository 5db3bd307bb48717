"""No pickle is read or written, and no text becomes code: the code walked, and the files of a finished study."""

import ast
import pickle
import pickletools
import re
import zipfile
from pathlib import Path

import pytest

import embedshift
from support.mean_colour import MeanColour
from support.models import pictures

pytestmark = pytest.mark.slow

SRC = Path(embedshift.__file__).parent
MODULES = "pickle|cPickle|dill|cloudpickle|joblib|shelve|marshal|jsonpickle|code|runpy"
# What could run code that stands in data, in code that is written anew: each call on a line of its own.
DANGERS = re.compile(
    rf"""\b(?:import|from)\ (?:{MODULES})\b | (?<![\w.])(?:eval|exec|compile|__import__)\( | \bshell=True
    | \bos\.(?:system|popen)\( | \byaml\.(?:load|load_all|unsafe_load|full_load)\( | \ballow_pickle=(?!False)
    | \btrust_remote_code['"]?\ *[=:](?!\ *False) | \bweights_only['"]?\ *[=:](?!\ *True)
    | \btorch\.(?:\w+\.)*load\((?!.*\bweights_only=True)
    | (?<!super\(\)\.)(?<!def\ )\bfrom_pretrained\((?!.*\btrust_remote_code=False)""",
    re.VERBOSE,
)


def dangers(text: str) -> list[str]:
    return DANGERS.findall(ast.unparse(ast.parse(text)))


def test_code():
    files = sorted(SRC.rglob("*.py"))
    assert len(files) > 150
    found = {str(path.relative_to(SRC)): dangers(path.read_text()) for path in files}
    assert not any(found.values()), found


def test_what_the_walk_finds():
    for text in (
        "from joblib import load", "torch.load(file)", "torch.load(file, weights_only=False)", "yaml.load(text)",
        "np.load(file, allow_pickle=True)", "eval(text)", "subprocess.run(text, shell=True)", "x = 'import pickle'",
        "AutoModel.from_pretrained(name)", "settings = {'trust_remote_code': trusted}",
    ):  # fmt: skip
        assert dangers(text), text


def is_pickle(data: bytes) -> bool:
    """Whether bytes are a pickle to their end, of any protocol."""
    try:
        *_, last = pickletools.genops(data)
    except Exception:
        return False
    return last[0].name == "STOP"


def test_no_file_of_a_study_is_a_pickle(tmp_path):
    study = embedshift.run(
        pictures(tmp_path / "photos", 9),
        out=tmp_path / "study",
        model=MeanColour(),
        augmentations={"dark": lambda image, rng: image // 2, "mirror": lambda image, rng: image[:, ::-1]},
        workers=0,
    )
    study.report(figures=["views"])
    from embedshift.encoders import bundled

    assert {path.suffix for path in bundled._cached_checkpoint().iterdir()} == {".json", ".safetensors"}
    files = [path for path in study.folder.rglob("*") if path.is_file()]
    kinds = {path.suffix for path in files}
    assert {".json", ".parquet", ".csv", ".html", ".svg"} <= kinds
    assert kinds <= {".json", ".parquet", ".csv", ".html", ".png", ".svg", ".lock", ""}, kinds
    for path in files:
        data = path.read_bytes()
        assert not is_pickle(data), path
        assert not zipfile.is_zipfile(path), path
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert is_pickle(pickle.dumps({"a": [1, 2]}, protocol))
