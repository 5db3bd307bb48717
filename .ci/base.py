"""The base, installed without the extra `encode`: what needs vectors alone runs, and the rest says what to install."""

import subprocess
import venv
from collections.abc import Callable
from pathlib import Path

# What the extra `encode` brings, by the names that pip lists.
ENCODE = {
    "torch",
    "transformers",
    "safetensors",
    "huggingface-hub",
    "albumentations",
    "opencv-python-headless",
    "plotly",
}
MOST_MEGABYTES = 750
VECTORS = """
import numpy as np, pyarrow as pa, pyarrow.parquet as pq
rng = np.random.default_rng(0)
originals = rng.normal(size=(120, 16))
ids = [f"{number:03d}.jpg" for number in range(120)]
for name, noise in (("one", 0.2), ("two", 0.3)):
    views = {"original": originals} | {view: originals + noise * n * rng.normal(size=(120, 16))
                                       for n, view in enumerate(("jpeg", "crop", "blur"), 1)}
    rows = [{"image_id": image, "view": view, "vector": vector.astype("f4").tolist()}
            for view, vectors in views.items() for image, vector in zip(ids, vectors)]
    pq.write_table(pa.Table.from_pylist(rows), f"{name}.parquet")
np.save("gallery.npy", rng.normal(size=(200, 16)).astype("f4"))
np.save("uploads.npy", rng.normal(size=(100, 16)).astype("f4"))
"""
COMMANDS = """
vectors one.parquet --out one
vectors two.parquet --out two
search one
search one --gallery gallery.npy
threshold one --out match.json
index one whiten --out one.index
search one --index one.index
compare one two
upgrade one two
check one --init
check one --against one
power one
drift one uploads.npy
dissect one two.parquet
explain one
report one --card card.md
report one
verify one
verify demo
search demo
report demo
list encoders
list augmentations
list metrics
list figures
list questions
docs vectors
""".strip().splitlines()
REFUSED = """
run photos --out new
views photos --out new
attack photos --out new
parity dinov2-small-offline photos
demo
app one
""".strip().splitlines()
NAMES = """
import embedshift
for name in embedshift.__all__:
    try:
        getattr(embedshift, name)
    except embedshift.EmbedshiftError as error:
        assert "pip install 'embedshift[encode]'" in str(error), error
"""


def try_base(wheel: Path, place: Path, run: Callable[..., str], megabytes: Callable[[Path], float]) -> list[str]:
    """Installs the wheel alone beside the study `demo`, runs what the base promises, and returns what is wrong."""
    home = place / "base"
    venv.create(home, with_pip=True)
    before = megabytes(home)
    run(home / "bin/python", "-m", "pip", "install", "-q", "--no-compile", wheel, where=place)
    listed = run(home / "bin/python", "-m", "pip", "list", "--format=freeze", where=place)
    packages = {line.partition("==")[0].lower() for line in listed.splitlines()}
    wrong = [f"the base installs {name}" for name in sorted(ENCODE & packages)]
    (place / "photos").mkdir()
    run(home / "bin/python", "-c", VECTORS, where=place)
    run(home / "bin/python", "-c", NAMES, where=place)
    for line in COMMANDS:
        run(home / "bin/embedshift", *line.split(), where=place)
    if "embedshift[encode]" not in (place / "demo" / "report.html").read_text():
        wrong.append("the page of a study of images does not say what to install for its images")
    for line in REFUSED:
        command = [home / "bin/embedshift", *line.split(), "--quiet"]
        done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
        said = done.stderr.strip().splitlines()
        if done.returncode == 0 or len(said) != 1 or "pip install 'embedshift[" not in said[0]:
            wrong.append(f"embedshift {line}: {said}")
    if (size := megabytes(home) - before) > MOST_MEGABYTES:
        wrong.append(f"the base takes {size:.0f} MiB, more than {MOST_MEGABYTES}")
    print(f"smoke: the base takes {size:.0f} MiB, {len(packages)} packages; {len(COMMANDS)} commands ran without torch")
    return wrong
