"""A figure's bytes: drawn once for all formats, the same in a process of its own, and whatever happens to that."""

import base64
import gzip
import io
import multiprocessing
import re
import signal
import subprocess
import sys
import warnings

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from embedshift.figures import style
from embedshift.figures.render import DPI, PageLimits, render
from embedshift.figures.workers import Renderers
from support.matrix import first_only

pytestmark = pytest.mark.slow

PHOTO = np.random.default_rng(0).integers(0, 255, (64, 48, 3), np.uint8).repeat(4, 0).repeat(4, 1)


def figure(title="a title", photo=False):
    with style.context():
        made = style.new_figure("caption", 4, 3, title)
        axes = made.subplots()
        if photo:
            axes.imshow(PHOTO)
        else:
            axes.plot([0, 1], [0, 1])
    return made


def pixels(content):
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


@pytest.mark.parametrize("photo", [False, True])
def test_png_has_the_pixels_that_matplotlib_saves(photo):
    ours = render(figure(photo=photo), ["png", "svg"]).files["png"]
    buffer = io.BytesIO()
    with style.context():
        figure(photo=photo).savefig(buffer, format="png", dpi=DPI)
    assert np.array_equal(pixels(ours), pixels(buffer.getvalue()))
    assert Image.open(io.BytesIO(ours)).info["dpi"] == pytest.approx((DPI, DPI), abs=0.1)


def test_the_figure_is_left_as_it_was():
    made = figure()
    before = made.dpi, made.canvas, made.get_layout_engine()
    assert render(made, ["png"]).files == render(made, ["png"]).files
    assert (made.dpi, made.canvas, made.get_layout_engine()) == before


def test_photograph_in_svg_is_where_the_png_has_it():
    files = render(figure(photo=True), ["png", "svg"]).files
    text = files["svg"].decode()
    [place] = re.findall(r"<image [^>]*>", text)
    found = dict(re.findall(r'([a-zA-Z:]+)="([^"]*)"', place))
    assert found["xlink:href"].startswith("data:image/jpeg;base64,")
    jpeg = np.asarray(Image.open(io.BytesIO(base64.b64decode(found["xlink:href"].partition(",")[2]))), np.float64)
    left, top, width, height = (float(found[key]) * DPI / 72 for key in ("x", "y", "width", "height"))
    assert (jpeg.shape[1], jpeg.shape[0]) == pytest.approx((width, height), abs=0.01)
    top, left = round(top), round(left)
    shown = pixels(files["png"])[top : top + jpeg.shape[0], left : left + jpeg.shape[1]].astype(np.float64)
    inside = np.s_[8:-8, 8:-8]
    assert np.corrcoef(jpeg[inside].ravel(), shown[inside].ravel())[0, 1] > 0.95


def test_forms_for_a_page_go_down_to_the_room():
    wide = render(figure(), ["svg"], PageLimits(10**9, False))
    [packed] = wide.forms
    assert gzip.decompress(base64.b64decode(packed.removeprefix("data:application/gzip;base64,"))) == wide.files["svg"]
    forms = render(figure(photo=True), ["png"], PageLimits(8_000, True)).forms
    assert len(forms) > 1
    assert all(form.startswith("data:image/webp;base64,") for form in forms)
    assert all(len(form) > 8_000 for form in forms[:-1])


def three_cores(monkeypatch):
    monkeypatch.setattr("embedshift.figures.workers.cores", lambda: 3)


def test_processes_give_what_this_one_gives(monkeypatch):
    three_cores(monkeypatch)
    figures = [(k, figure(str(k), photo=k == 1), None) for k in range(3)]
    wanted = {k: render(figure(str(k), photo=k == 1), ["png", "svg"]) for k in range(3)}
    monkeypatch.setattr("embedshift.figures.render.FigureCanvasAgg", None)  # this process can render no figure
    with Renderers(8) as renderers:
        assert dict(renderers.render_all(figures, ["png", "svg"])) == wanted


def test_what_would_wait_for_a_process_is_rendered_here(monkeypatch):
    three_cores(monkeypatch)
    wanted = {k: render(figure(str(k)), ["svg"]) for k in range(6)}
    here, canvas = [], "embedshift.figures.render.FigureCanvasAgg"
    monkeypatch.setattr(canvas, lambda drawn: here.append(1) or FigureCanvasAgg(drawn))
    with Renderers(8) as renderers:
        assert dict(renderers.render_all([(k, figure(str(k)), None) for k in range(6)], ["svg"])) == wanted
    assert 1 <= len(here) <= 2  # two wait for each of two processes, which start meanwhile


@pytest.mark.matrix
def test_what_a_process_cannot_do_is_done_here(monkeypatch):
    three_cores(monkeypatch)
    unknown = figure()
    unknown.function = lambda: None  # has no pickle
    glyphs = figure("\N{CJK UNIFIED IDEOGRAPH-4E2D}")  # a font without it warns
    with Renderers(8) as renderers, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = dict(renderers.render_all([("unknown", unknown, None), ("glyphs", glyphs, None)], ["svg"]))
    assert any("Glyph" in str(each.message) for each in caught)
    assert found["unknown"] == render(figure(), ["svg"])
    assert "svg" in found["glyphs"].files


def test_figures_are_rendered_here_when_a_process_is_killed(monkeypatch):
    three_cores(monkeypatch)
    with Renderers(8) as renderers:
        for process in multiprocessing.active_children()[:1]:
            process.kill()
            process.join()
        found = dict(renderers.render_all([(k, figure(str(k)), None) for k in range(3)], ["svg"]))
    assert found == {k: render(figure(str(k)), ["svg"]) for k in range(3)}


@pytest.mark.matrix
def test_an_error_of_a_figure_is_what_it_was(monkeypatch):
    three_cores(monkeypatch)
    broken = figure("$\\frac$")
    with pytest.raises(ValueError, match="frac") as here:
        render(broken, ["png"])
    with Renderers(8) as renderers, pytest.raises(ValueError, match="frac") as there:
        list(renderers.render_all([(0, broken, None)], ["png"]))
    assert str(there.value) == str(here.value)
    assert multiprocessing.active_children() == []


PARENT = """
import multiprocessing, os, sys
from embedshift.figures.workers import Renderers

os.sched_getaffinity = lambda _: {0, 1, 2}
with Renderers(8) as renderers:
    print(*[process.pid for process in multiprocessing.active_children()], flush=True)
    sys.stdin.read()
"""


@pytest.mark.matrix
@pytest.mark.parametrize("number", first_only([signal.SIGKILL, signal.SIGTERM, signal.SIGINT]))
def test_processes_end_with_the_process_that_started_them(number):
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    pids = parent.stdout.readline().split()
    assert len(pids) == 2
    parent.send_signal(number)
    parent.wait()
    for pid in pids:
        subprocess.run(["tail", f"--pid={pid}", "-f", "/dev/null"], check=True, timeout=20)


SCRIPT = """
import os, sys
from matplotlib.figure import Figure
from embedshift.figures import render
from embedshift.figures.workers import Renderers

print("run", flush=True)
os.sched_getaffinity = lambda _: {0, 1, 2}
render.FigureCanvasAgg = None  # this process can render no figure
with Renderers(8) as renderers:
    [(key, rendered)] = renderers.render_all([("key", Figure((1, 1)), None)], ["svg"])
print(key, *rendered.files)
"""


@pytest.mark.matrix
def test_a_script_without_a_guard_is_run_once(tmp_path):
    """Its figures are rendered in other processes nevertheless."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines() == ["run", "key svg"]
    assert done.stderr == ""


@pytest.mark.matrix
def test_a_process_imports_no_tables_and_no_torch(monkeypatch):
    three_cores(monkeypatch)
    code = "[name for name in __import__('sys').modules if name in ('torch', 'polars', 'pyarrow')]"
    with Renderers(8) as renderers:
        assert renderers._pool.submit(eval, code).result() == []


def test_few_figures_start_no_process(monkeypatch):
    three_cores(monkeypatch)
    with Renderers(1) as renderers:
        assert multiprocessing.active_children() == []
        [(_, one)] = renderers.render_all([("one", Figure((1, 1)), None)], ["svg"])
    assert one.files["svg"].startswith(b"<?xml")


def test_the_last_digits_of_a_layout_change_no_byte():
    """The solver of the layout adds up in the order of memory addresses."""

    def files(shift):
        figure = Figure(figsize=(3, 2))
        figure.add_axes((0.123456789 + shift, 0.2, 0.7, 0.6)).plot([1, 2, 3], [3, 1, 2])
        return render(figure, ["svg", "png"]).files

    assert files(0.0) == files(1e-13)
