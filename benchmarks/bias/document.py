"""docs/bias.md and its figure, from finished runs."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bias.cases import CASES, UPDATES, Case
from bias.judging import NEAR, Centre, Judged
from bias.learning import Measured
from laws.rows import number, table

FIGURE = "images/bias.svg"
WAYS = {
    "through_model": "back-propagation through the model",
    "on_model": "perturbation on the model",
    "on_plant": "perturbation on the plant",
}
COLOURS = {"untrained": "0.6", "through_model": "C1", "on_model": "C0", "on_plant": "C3"}
BEGINNINGS = {"untrained": "initial weights", **{key: WAYS[key] for key in ("through_model", "on_model")}}
