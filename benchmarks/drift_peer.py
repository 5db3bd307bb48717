"""One peer at work, in its own environment: started by drift_peers.py with a file of vectors, it prints JSON.

The file holds `reference` and batches, `[n, D]`; the answer is `{batch: [rings, what it says]}`.
"""

import json
import sys
from collections.abc import Callable

import numpy as np

Rings = Callable[[np.ndarray], tuple[bool, str]]


def alibi_detect(reference: np.ndarray) -> Rings:
    from alibi_detect.cd import MMDDrift

    detector = MMDDrift(reference, backend="pytorch", p_val=0.05, n_permutations=100)

    def rings(batch: np.ndarray) -> tuple[bool, str]:
        found = detector.predict(batch)["data"]
        return bool(
            found["is_drift"]
        ), f"is_drift, p {float(found['p_val']):.2f}, distance {float(found['distance']):.4f}"

    return rings


def evidently(reference: np.ndarray) -> Rings:
    import pandas as pd
    from evidently.legacy.metrics import EmbeddingsDriftMetric
    from evidently.legacy.pipeline.column_mapping import ColumnMapping
    from evidently.legacy.report import Report

    names = [f"v{place}" for place in range(reference.shape[1])]

    def rings(batch: np.ndarray) -> tuple[bool, str]:
        report = Report(metrics=[EmbeddingsDriftMetric("vectors")])
        report.run(
            reference_data=pd.DataFrame(reference, columns=names), current_data=pd.DataFrame(batch, columns=names),
            column_mapping=ColumnMapping(embeddings={"vectors": names}),
        )  # fmt: skip
        found = report.as_dict()["metrics"][0]["result"]
        return bool(
            found["drift_detected"]
        ), f"drift_detected, {found['method_name']}, score {found['drift_score']:.2f}"

    return rings


PEERS: dict[str, Callable[[np.ndarray], Rings]] = {"alibi-detect": alibi_detect, "evidently": evidently}


def main() -> None:
    name, path = sys.argv[1:]
    with np.load(path) as file:
        arrays = {key: file[key].astype(np.float32) for key in file.files}
    rings = PEERS[name](arrays.pop("reference"))
    print("\n" + json.dumps({key: rings(batch) for key, batch in arrays.items()}))


if __name__ == "__main__":
    main()
