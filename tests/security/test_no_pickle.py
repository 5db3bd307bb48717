"""No pickle is read or written, and no text becomes code: the code walked, and the files of a finished study."""

import ast
import pickle
import pickletools
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import embedshift
from support.mean_colour import MeanColour
from support.models import pictures

pytestmark = pytest.mark.slow

SRC = Path(embedshift.__file__).parent
# Each hands a job to processes that it started itself, through their own pipe: never a file, never the network.
PIPES = {
    "engines/local.py": "to the child processes of a run, one a device",
    "engines/ray.py": "to the workers of the user's own Ray cluster, which does the same with every function",
}
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "jsonpickle", "code", "runpy"}
CALLS = {"eval", "exec", "compile", "__import__"}
SAFE_YAML = {"yaml.SafeLoader", "yaml.CSafeLoader"}


def dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def words(node: ast.Call) -> dict[str, object]:
    return {each.arg: getattr(each.value, "value", ast.unparse(each.value)) for each in node.keywords if each.arg}


def dangers(text: str) -> Iterator[str]:
    """What could run code that stands in data."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [each.name for each in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            yield from (f"imports {each}" for each in modules if each.partition(".")[0] in MODULES)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and "import pickle" in node.value:
            yield "imports pickle in a text"
        if isinstance(node, ast.Dict):
            keys = [getattr(each, "value", None) for each in node.keys]
            values = [getattr(each, "value", ...) for each in node.values]
            told = dict(zip(keys, values, strict=True))
            if told.get("trust_remote_code", False) is not False or told.get("weights_only", True) is not True:
                yield "trusts"
        if not isinstance(node, ast.Call):
            continue
        name, given = dotted(node.func), words(node)
        last = name.rpartition(".")[2]
        if name in CALLS:
            yield f"calls {name}"
        if last == "load" and name.startswith("torch") and given.get("weights_only") is not True:
            yield "torch.load without weights_only=True"
        if given.get("weights_only", True) is not True or given.get("trust_remote_code", False) is not False:
            yield "trusts"
        if last in ("load", "open_memmap") and name.startswith(("np.", "numpy.")) and given.get("allow_pickle"):
            yield "np.load with allow_pickle"
        if name in ("yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.full_load"):
            yield name
        if given.get("shell") or name in ("os.system", "os.popen"):
            yield "a shell"
        if (
            last == "from_pretrained"
            and given.get("trust_remote_code") is not False
            and name.rpartition(".")[0] != "super()"
        ):
            yield f"{name} without trust_remote_code=False"


def test_code():
    files = sorted(SRC.rglob("*.py"))
    assert len(files) > 150
    found = {str(path.relative_to(SRC)): sorted({*dangers(path.read_text())}) for path in files}
    found = {name: each for name, each in found.items() if each}
    assert found == {name: ["imports pickle"] for name in PIPES}


def test_what_the_walk_finds():
    for text in (
        "from joblib import load", "torch.load(file)", "torch.load(file, weights_only=False)", "yaml.load(text)",
        "np.load(file, allow_pickle=True)", "eval(text)", "subprocess.run(text, shell=True)", "x = 'import pickle'",
        "AutoModel.from_pretrained(name)", "settings = {'trust_remote_code': trusted}",
    ):  # fmt: skip
        assert [*dangers(text)], text


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
    assert {".json", ".parquet", ".csv", ".html", ".png", ".svg"} <= kinds
    assert kinds <= {".json", ".parquet", ".csv", ".html", ".png", ".svg", ".lock", ""}, kinds
    for path in files:
        data = path.read_bytes()
        assert not is_pickle(data), path
        assert not zipfile.is_zipfile(path), path
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert is_pickle(pickle.dumps({"a": [1, 2]}, protocol))
