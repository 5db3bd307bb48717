"""Captions beside images, in folders, archives and lists."""

import tarfile
from pathlib import Path

from embedshift.sources import open_source
from support.models import pictures


def test_captions_of_a_folder_are_those_of_its_tar(tmp_path):
    folder = pictures(tmp_path / "photos", 4)
    (folder / "picture-00.txt").write_text(" a cat \n")
    (folder / "picture-01.json").write_text('{"caption": "a dog"}')
    (folder / "picture-02.json").write_text("[1, 2")
    (folder / "readme.txt").write_text("beside no picture")
    with tarfile.open(tmp_path / "photos.tar", "w") as tar:
        for file in sorted(folder.iterdir()):
            tar.add(file, file.name)
    sources = [open_source([str(path)]) for path in (folder, tmp_path / "photos.tar")]
    for source in sources:
        assert [sample.caption for sample in source.samples] == ["a cat", "a dog", None, None]
        assert dict(source.skipped) == {".txt": 1}
    single = open_source([str(folder / "picture-00.png"), str(folder / "picture-03.png")])
    assert [(s.image_id, s.caption) for s in single.samples] == [("picture-00.png", "a cat"), ("picture-03.png", None)]
    listed = tmp_path / "list.txt"
    listed.write_text("photos/picture-00.png\nphotos/picture-01.png\n")
    assert [sample.caption for sample in open_source([str(listed)]).samples] == ["a cat", "a dog"]


def test_a_caption_that_cannot_be_read_is_told(tmp_path, caplog):
    folder = pictures(tmp_path / "photos", 1)
    (folder / "picture-00.txt").symlink_to(folder / "nowhere")
    assert open_source([str(folder)]).samples[0].caption is None
    assert "picture-00.txt: no caption could be read" in caplog.text
    assert Path(open_source([str(folder)]).samples[0].location).is_file()
