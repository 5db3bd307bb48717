"""Makes fiftyone.json: what FiftyOne itself writes after it has read our export. It takes the Python of FiftyOne.

    python -c "import sys; sys.path.insert(0, 'tests'); from study.test_fiftyone import write; write('build/fiftyone')"
    FIFTYONE_PYTHON tests/study/golden/make_fiftyone.py build/fiftyone

FiftyOne pins OpenCV 4, so it has an environment of its own. Made with FiftyOne 1.22.1 and MongoDB 6.0.5.
"""

import json
import sys
from pathlib import Path


def main() -> None:
    import fiftyone as fo  # of its own environment: none of the tests imports it

    folder, found = Path(sys.argv[1]).resolve(), {"fiftyone": fo.__version__}
    for media in ("originals", "views"):
        read = fo.Dataset.from_dir(str(folder / media), dataset_type=fo.types.FiftyOneDataset)
        again = folder / f"{media}-again"
        read.export(str(again), dataset_type=fo.types.FiftyOneDataset, export_media=False, overwrite=True)
        found[media] = {
            name: json.loads((again / f"{name}.json").read_text().replace(str(folder), "FOLDER"))
            for name in ("metadata", "samples")
        }
    Path(__file__).with_name("fiftyone.json").write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
