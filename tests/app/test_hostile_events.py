"""Events of a hostile client, as a program of another user can send them: each is one line, and reads no file."""

import json
import os
import urllib.error
import urllib.request
import uuid
from pathlib import Path

import pytest

from embedshift.app import page as page_module
from support.network import no_network

pytestmark = pytest.mark.slow

OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
META = {"_type": "gradio.FileData"}
JPEG = "strength: jpeg"
DEEP = b"[" * 200_000
IMAGE = ["file", "state", "dropdown", "slider", "number"]
POINTS = ["dropdown", "dropdown", "dropdown", "textbox", "number"]


def post(address, body, path="queue/join", kind="application/json"):
    """The answer's status and its first line."""
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(f"{address}gradio_api/{path}", body, {"content-type": kind})
    try:
        with OPENER.open(request, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def event(address, data, number, **more):
    """An event's answer: what the fields of the page then show, or the line with which it was refused."""
    session = uuid.uuid4().hex
    status, words = post(address, {"data": data, "fn_index": number, "session_hash": session} | more)
    if status != 200:
        return words
    with OPENER.open(f"{address}gradio_api/queue/data?session_hash={session}", timeout=20) as stream:
        messages = [json.loads(line[6:]) for line in stream if line.startswith(b"data: ")]
    return next(message for message in messages if message["msg"] == "process_completed")["output"]["data"]


def upload(address, name, content):
    limit = uuid.uuid4().hex
    head = f'--{limit}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
    body = head.encode() + content + f"\r\n--{limit}--\r\n".encode()
    status, answer = post(address, body, "upload", f"multipart/form-data; boundary={limit}")
    assert status == 200
    (path,) = json.loads(answer)
    return {"path": path, "orig_name": name, "meta": META}


@pytest.fixture(scope="module")
def numbers(served):
    """The numbers of the page's events, by the kinds of their fields."""
    with OPENER.open(f"{served}config", timeout=20) as answer:
        config = json.load(answer)
    kinds = {component["id"]: component["type"] for component in config["components"]}
    return {tuple(kinds[field] for field in each["inputs"]): each["id"] for each in config["dependencies"]}


@pytest.fixture
def image(numbers):
    return numbers[(*IMAGE,)]


@pytest.fixture
def silent(capfd, monkeypatch):
    """Nothing is opened, nothing requested, and nothing printed, as a traceback would be."""
    opened = []
    monkeypatch.setattr(page_module, "open_original", lambda *arguments: opened.append(arguments))
    with no_network(loopback=True) as tried:
        yield
    assert opened == []
    assert tried == []
    assert capfd.readouterr().err == ""


@pytest.fixture
def files(tmp_path, photos):
    """Paths of this machine that an event may try."""
    (tmp_path / "pipe").touch()
    (tmp_path / "pipe").unlink()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link.png").symlink_to(sorted(photos.iterdir())[0])
    folder = Path(os.environ["GRADIO_TEMP_DIR"])
    inside = folder / ("0" * 64)
    inside.mkdir(exist_ok=True)
    if not (inside / "link.png").is_symlink():
        (inside / "link.png").symlink_to(sorted(photos.iterdir())[0])
    return {
        "image": str(sorted(photos.iterdir())[0]),
        "none": str(tmp_path / "none.png"),
        "fifo": str(tmp_path / "pipe"),
        "folder": str(tmp_path),
        "device": "/dev/zero",
        "link": str(tmp_path / "link.png"),
        "link inside": str(inside / "link.png"),
        "around": f"{inside}/../../../etc/passwd",
        "relative": "../../etc/passwd",
        "web": "http://192.0.2.1/a.png",
        "file url": "file:///etc/passwd",
        "zero byte": "/tmp/a\0b.png",
        "long": "/" + "a" * 5_000,
        "empty": "",
        "its own folder": str(inside),
    }


@pytest.mark.parametrize("shape", ["a file of Gradio", "without meta", "only a path", "in a list", "a stream"])
def test_no_event_names_a_file_that_was_not_uploaded(served, files, image, silent, shape):
    for kind, path in files.items():
        file = {"path": path, "orig_name": "a.png", "meta": META}
        value = {
            "a file of Gradio": file,
            "without meta": file | {"meta": None},
            "only a path": path,
            "in a list": [file],
            "a stream": file | {"is_stream": True, "url": "http://192.0.2.1/a.png"},
        }[shape]
        answer = event(served, [value, None, JPEG, 25, 0], image)
        assert answer == (
            "the page has no such event: a file that was not uploaded here in a field of the kind 'file'"
        ), kind
    assert Path(files["image"]).is_file()
    assert Path(files["link inside"]).is_symlink()


WRONG = [None, {}, "x", 3, [], {"data": []}, {"data": [None] * 5}, {"fn_index": 10**30, "data": []}]


def test_what_is_no_event_is_one_line(served, image, silent):
    file = {"path": "/etc/passwd", "meta": META}
    bodies = [
        *WRONG,
        b"",
        DEEP,
        b"\xff\xfe",
        b"{" + b" " * 2**21,
        {"data": [None] * 4, "fn_index": image, "session_hash": "a"},
        {"data": [None] * 6, "fn_index": image, "session_hash": "a"},
        {"data": {"0": None}, "fn_index": image, "session_hash": "a"},
        {"data": [None] * 5, "fn_index": str(image), "session_hash": "a"},
        {"data": [None] * 5, "fn_index": True, "session_hash": "a"},
        {"data": [None] * 5, "fn_index": image, "session_hash": ["a"]},
        {"data": [None] * 5, "fn_index": image, "session_hash": "a", "trigger_id": "b"},
        {"data": [[None]] * 5, "fn_index": image, "session_hash": "a", "batched": True},
        {"data": [None] * 5, "fn_index": image, "session_hash": "a", "simple_format": True},
        {"data": [None] * 5, "fn_index": image, "session_hash": "a", "event_data": [file]},
        {"data": [None, {"original": file}, JPEG, 1, 0], "fn_index": image, "session_hash": "a"},
        {"data": [None, None, [JPEG], 1, 0], "fn_index": image, "session_hash": "a"},
        {"data": [None, None, file, 1, 0], "fn_index": image, "session_hash": "a"},
        {"data": [None, None, JPEG, "1", 0], "fn_index": image, "session_hash": "a"},
        {"data": [None, None, JPEG, {"a": 1}, 0], "fn_index": image, "session_hash": "a"},
        {"data": [None, None, JPEG, 1, True], "fn_index": image, "session_hash": "a"},
    ]
    for body in bodies:
        status, words = post(served, body)
        assert (status, words.splitlines()) == (400, [words]), body if body is not DEEP else "deep"
        assert words.startswith("the page has no such event: ")


@pytest.mark.parametrize("path", ["run/predict", "api/predict", "call/answer", "component_server", "stream/a", "login"])
def test_the_page_has_no_other_requests(served, silent, path):
    body = {"data": [{"path": "/etc/passwd", "meta": META}], "fn_name": "ls", "component_id": 0, "session_hash": "a"}
    assert post(served, body, path) == (403, "the page has no such request")


def test_an_event_that_is_refused_leaves_nothing_of_its_upload(served, image, photos, silent):
    content = sorted(photos.iterdir())[0].read_bytes()
    for label in (["a"], JPEG):
        file = upload(served, "own.png", content)
        assert Path(file["path"]).is_file()
        fields = [file, None, label, 1, 0]
        event(served, fields if label != JPEG else fields[:-1], image)
        assert not Path(file["path"]).exists()


@pytest.mark.parametrize(
    ("label", "strength", "draw", "words"),
    [
        ("no such change", 25, 0, "choose a change from the list"),
        (None, 25, 0, "choose a change from the list"),
        (JPEG, None, 0, "give the strength as a number"),
        (JPEG, float("nan"), 0, "strength: jpeg: the strength is no number"),
        (JPEG, 25, float("inf"), "infinity"),
        (JPEG, 25, float("nan"), "NaN"),
    ],
)
def test_a_wrong_value_is_one_line(served, image, photos, capfd, label, strength, draw, words):
    file = upload(served, "own.png", sorted(photos.iterdir())[0].read_bytes())
    message = event(served, [file, None, label, strength, draw], image)[3]
    assert words in message
    assert 'role="alert"' in message
    assert not Path(file["path"]).exists()
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("name", ["\ud800.png", "a" * 100_000, "../../a.png", "<script>", "a\x1b[2Jb.png"])
def test_any_name_of_an_upload_is_text(served, image, photos, capfd, name):
    file = upload(served, "own.png", sorted(photos.iterdir())[0].read_bytes())
    answer = event(served, [file | {"orig_name": name}, None, JPEG, 25, 0], image)
    assert answer[3] == ""
    assert answer[4]
    assert capfd.readouterr().err == ""


def test_a_file_is_answered_once(served, image, photos):
    file = upload(served, "own.png", sorted(photos.iterdir())[0].read_bytes())
    assert event(served, [file, None, JPEG, 25, 0], image)[3] == ""
    message = event(served, [file, None, JPEG, 25, 0], image)[3]
    assert "own.png: it was deleted after its answer; choose it again" in message


@pytest.mark.parametrize(
    "marked", [["a", "b"], [1], [1, 2, 3], {"a": 1}, "ab", [[1], [2]], [None, 1], [float("nan"), 2], [3, 1], [True, 2]]
)
def test_a_range_of_anything_shows_points(served, numbers, reader, capfd, marked):
    fields = [reader.augmentations[0], "relative shift", "l2_distance", "", 0]
    answer = event(served, fields, numbers[(*POINTS,)], event_data={"index": marked})
    assert "images shown" in answer[1]
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(("field", "value"), [(0, "none"), (0, None), (1, "<b>"), (2, "image_id"), (0, "\ud800")])
def test_a_name_that_a_list_does_not_have_is_one_line(served, numbers, reader, capfd, field, value):
    fields = [reader.augmentations[0], "relative shift", "l2_distance", "", 0]
    fields[field] = value
    answer = event(served, fields, numbers[(*POINTS,)])
    assert "the study does not have it" in answer[1]
    assert 'role="alert"' in answer[1]
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(("augmentation", "name"), [("none", "picture-00.png"), ("noise", "none"), (None, "none")])
def test_an_image_that_the_study_does_not_have_is_one_line(served, numbers, capfd, augmentation, name):
    answer = event(served, [augmentation, name], numbers["dropdown", "dropdown"])
    assert 'role="alert"' in answer[0]
    assert capfd.readouterr().err == ""
