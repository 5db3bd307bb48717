"""Events of a hostile client, as a program of another user can send them: each is one line, and reads no file."""

import json
import os
import urllib.error
import urllib.request
import uuid
from pathlib import Path

import pytest

from support.network import no_network

pytestmark = pytest.mark.slow

OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
META = {"_type": "gradio.FileData"}
JPEG = "strength: jpeg"
REFUSED = "the page has no such event"
DEEP = b"[" * 200_000
TOO_LARGE = 413
IMAGE = ("file", "state", "dropdown", "slider", "radio", "number")
POINTS, CHOSEN = 0, 1
NO_IMAGE = (None, None, JPEG, 3, "file", 0)


def post(address, body, path="queue/join", kind="application/json"):
    """The answer's status and its first line."""
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(f"{address}gradio_api/{path}", body, {"content-type": kind})
    try:
        with OPENER.open(request, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except urllib.error.URLError as error:
        if not isinstance(error.reason, ConnectionError):
            raise
        return TOO_LARGE, ""  # refused and closed before all of it was sent


def event(address, data, number, **more):
    """An event's answer: what the fields of the page then show, or the line with which it was refused."""
    session = uuid.uuid4().hex
    status, words = post(address, {"data": data, "fn_index": number, "session_hash": session} | more)
    if status != 200:
        return words
    with OPENER.open(f"{address}gradio_api/queue/data?session_hash={session}", timeout=20) as stream:
        messages = [json.loads(line[6:]) for line in stream if line.startswith(b"data: ")]
    output = next(message for message in messages if message["msg"] == "process_completed")["output"]
    return output["data"] if output.get("error") is None else output["error"]


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
    lists = [one for one in config["dependencies"] if {kinds[field] for field in one["inputs"]} == {"dropdown"}]
    inputs = {tuple(kinds[field] for field in one["inputs"]): one["id"] for one in config["dependencies"]}
    return inputs | {place: one["id"] for place, one in enumerate(lists)}


@pytest.fixture
def image(numbers):
    return numbers[IMAGE]


@pytest.fixture
def silent(page_module, capfd, monkeypatch):
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
    image = sorted(photos.iterdir())[0]
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link.png").symlink_to(image)
    here = [str(each) for each in (image, tmp_path / "none.png", tmp_path / "pipe", tmp_path, tmp_path / "link.png")]
    around = f"{os.environ['GRADIO_TEMP_DIR']}/{'0' * 64}/../../../etc/passwd"
    elsewhere = ["/dev/zero", around, "../../etc/passwd", "http://192.0.2.1/a.png", "file:///etc/passwd"]
    return [*here, *elsewhere, "/tmp/a\0b.png", "/" + "a" * 5_000, ""]


@pytest.mark.matrix
def test_no_event_names_a_file_that_was_not_uploaded(served, files, image, silent):
    for path in files:
        file = {"path": path, "orig_name": "a.png", "meta": META}
        stream = file | {"is_stream": True, "url": "http://192.0.2.1/a.png"}
        for value in (file, file | {"meta": None}, path, [file], stream):
            answer = event(served, [value, *NO_IMAGE[1:]], image)
            assert answer == REFUSED or 'role="alert"' in answer[3], (value, answer)
    assert Path(files[0]).is_file()
    assert Path(files[4]).is_symlink()


WRONG = [None, {}, "x", 3, [], {"data": []}, {"data": [None] * 5}, {"fn_index": 10**30, "data": []}]
WRONG += [b"", DEEP, b"\xff\xfe", b"{" + b" " * 2**21]


def test_what_is_no_event_is_refused(served, image, silent):
    event_of = {"data": [], "fn_index": image}
    for body in [*WRONG, event_of, event_of | {"fn_index": f"{image}a", "session_hash": "a"}]:
        status, _ = post(served, body)
        assert status in (400, 403, TOO_LARGE, 422), body if body is not DEEP else "deep"


def test_fields_of_another_type_are_one_line(served, image, silent):
    file = {"path": "/etc/passwd", "meta": META}
    wrong = {1: [file], 2: [[JPEG], file], 3: ["one", {"a": 1}], 4: [["file"], file], 5: ["x"]}
    for place, value in ((place, value) for place, several in wrong.items() for value in several):
        answer = event(served, [*NO_IMAGE[:place], value, *NO_IMAGE[place + 1 :]], image)
        assert answer == REFUSED or len(answer) == 7, (place, value)
    assert event(served, [None] * 5, image) == REFUSED


def test_the_page_has_no_other_requests(served, silent):
    body = {"data": [{"path": "/etc/passwd", "meta": META}], "fn_name": "ls", "component_id": 0, "session_hash": "a"}
    for path in ("run/predict", "api/predict", "call/answer", "component_server", "stream/a", "login"):
        assert post(served, body, path) == (403, "the page has no such request"), path


@pytest.fixture
def own(served, photos, capfd):
    """Uploads an image; nothing is printed, as a traceback would be."""
    yield lambda: upload(served, "own.png", sorted(photos.iterdir())[0].read_bytes())
    assert capfd.readouterr().err == ""


def test_a_wrong_value_is_one_line_and_the_upload_is_gone(served, image, own):
    for label, strength, draw, words in (
        ("no such change", 3, 0, "choose a change from the list"),
        ([JPEG], 3, 0, "choose a change from the list"),
        (JPEG, None, 0, "give the strength as a number"),
        (JPEG, float("nan"), 0, "jpeg: give a strength from 0 to 5"),
        (JPEG, 3, float("inf"), "infinity"),
        (JPEG, 3, float("nan"), "NaN"),
    ):
        file = own()
        message = event(served, [file, None, label, strength, "file", draw], image)[3]
        assert words in message
        assert 'role="alert"' in message
        assert not Path(file["path"]).exists()


@pytest.mark.parametrize("name", ["\ud800.png", "a" * 100_000, "../../a.png", "<script>", "a\x1b[2Jb.png"])
def test_any_name_of_an_upload_is_text(served, image, own, name):
    answer = event(served, [own() | {"orig_name": name}, *NO_IMAGE[1:]], image)
    assert answer[3] == ""
    assert answer[4]


def test_a_file_is_answered_once(served, image, own):
    file = own()
    assert event(served, [file, *NO_IMAGE[1:]], image)[3] == ""
    assert "own.png: No such file or directory" in event(served, [file, *NO_IMAGE[1:]], image)[3]


def test_a_row_of_anything_is_one_line_and_an_unknown_name_changes_nothing(served, numbers, reader, capfd):
    first = reader.augmentations[0]
    for row in ([], [None], [{"a": 1}], ["none"], "picture-00.png", 3, [["a"]], ["../a.png"]):
        answer = event(served, [first, "picture-00.png"], numbers[CHOSEN], event_data={"row_value": row})
        assert 'role="alert"' in answer[0], row
    unknown = [["none", "l2_distance"], [None, "l2_distance"], ["\ud800", "l2_distance"]]
    for fields in [*unknown, [first, "<b>"], [first, "image_id"], [first, [1]]]:
        answer = event(served, fields, numbers[POINTS])
        assert answer == REFUSED or [one["__type__"] for one in answer] == ["update"] * 3, fields
    assert capfd.readouterr().err == ""
