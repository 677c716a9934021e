"""One thread (results are bit-identical per thread count), reproducible properties, and the shared toys importable as
`toys`.
"""

import sys
from pathlib import Path

import torch
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent))
# scripts are no package of the product
sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

# what kills processes outright, forks, or drives a browser through inherited file handles
POSIX_ALONE = [
    "test_battery.py", "modalities/test_mutations.py", "data/test_layout_mutations.py", "report/test_chromium.py",
    "evaluate/test_ranks.py", "evaluate/test_resume.py", "recipes/test_grid_resume.py",
]  # fmt: skip
collect_ignore = POSIX_ALONE if sys.platform == "win32" else []

torch.set_num_threads(1)
settings.register_profile(
    "ironbind", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("ironbind")
