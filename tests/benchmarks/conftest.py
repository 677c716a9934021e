"""The benchmarks are scripts, not a package of the product; their parts are imported from where they lie."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
