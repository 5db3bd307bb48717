"""Names for what the stages hand on."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]  # RGB, [H, W, 3] or [..., S, S, 3]
Floats = NDArray[np.float32]  # what encoders give
Values = NDArray[np.float64]  # what metrics and tables compute
Json = dict[str, Any]  # what study.json, a chart or a table's row holds
