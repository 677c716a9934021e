"""One thread (results are bit-identical per thread count), reproducible properties, and the shared toys importable as
`toys`.
"""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
# made-up results, which several rooms show
sys.path.insert(0, str(Path(__file__).parent / "report"))
# scripts are no package of the product
sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

from cpu_report import CpuReport  # noqa: E402  (the path above)

# what kills processes outright, forks, or drives a browser through inherited file handles
POSIX_ALONE = [
    "test_battery.py", "test_interrupts.py", "modalities/test_mutations.py", "data/test_layout_mutations.py",
    "report/test_chromium.py", "calibration/test_data_parallel.py", "evaluate/test_ranks.py",
    "evaluate/test_resume.py", "recipes/test_grid_resume.py",
]  # fmt: skip
collect_ignore = POSIX_ALONE if sys.platform == "win32" else []


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--cpu-report",
        nargs="?",
        const="",
        metavar="FILE",
        help="print the CPU seconds of every folder, file and test (and write those of tests to FILE)",
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--cpu-report") is not None:
        config.pluginmanager.register(CpuReport(config), "cpu-report")
    if not config.getoption("numprocesses", None):  # the process that only hands tests to others loads neither
        import torch
        from hypothesis import HealthCheck, settings

        torch.set_num_threads(1)
        settings.register_profile(
            "ironbind", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
        )
        settings.load_profile("ironbind")
