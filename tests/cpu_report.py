"""`pytest --cpu-report`: the CPU seconds of every folder, file and test, child processes included.

Wall seconds depend on what else the machine does; CPU seconds are what a test costs. A shared fixture is charged to the
test that happens to set it up; what no test spends (starting, importing, collecting) is a line of its own.
"""

import os
from collections import defaultdict
from collections.abc import Iterator

import pytest

SLOWEST = 30


def cpu_seconds() -> float:
    return sum(os.times()[:4])  # a test may replace time's own clocks


class CpuReport:
    """Counts in every worker, sums in the process that prints."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.counted_until = 0.0
        self.of_test: dict[str, float] = defaultdict(float)
        self.outside = 0.0

    def pytest_collection_finish(self) -> None:
        self.counted_until = self.outside = cpu_seconds()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Iterator[None]:
        report = yield
        now = cpu_seconds()
        report.cpu_seconds, self.counted_until = now - self.counted_until, now
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.of_test[report.nodeid] += getattr(report, "cpu_seconds", 0.0)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if hasattr(self.config, "workeroutput"):
            self.config.workeroutput["cpu_outside"] = self.outside

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: object) -> None:
        self.outside += getattr(node, "workeroutput", {}).get("cpu_outside", 0.0)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        of_file: dict[str, float] = defaultdict(float)
        of_folder: dict[str, float] = defaultdict(float)
        for test, seconds in self.of_test.items():
            file = test.partition("::")[0]
            of_file[file] += seconds
            of_folder[file.rpartition("/")[0]] += seconds
        terminalreporter.section("CPU seconds")
        for title, table in (("folder", of_folder), ("file", of_file), ("test", self.of_test)):
            ordered = sorted(table.items(), key=lambda row: -row[1])
            for name, seconds in ordered if title == "folder" else ordered[:SLOWEST]:
                terminalreporter.line(f"{seconds:9.2f}  {title:6}  {name}")
        tests = sum(self.of_test.values())
        terminalreporter.line(f"{self.outside:9.2f}  starting and collecting")
        terminalreporter.line(f"{tests + self.outside:9.2f}  together")
        if table_file := self.config.getoption("--cpu-report"):
            with open(table_file, "w", encoding="utf-8") as file_out:
                file_out.writelines(f"{seconds:.3f}\t{test}\n" for test, seconds in sorted(self.of_test.items()))
