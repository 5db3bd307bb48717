"""Type aliases for the arrays that the stages exchange."""

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]  # RGB, [H, W, 3] or [..., S, S, 3]
Floats = NDArray[np.float32]  # outputs of encoders
Values = NDArray[np.float64]  # values of metrics and tables
GroupNumbers = NDArray[np.intp]  # the number of the group of each image
