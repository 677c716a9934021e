"""A gate's report for a terminal, a program (JSON), a test page (JUnit XML) and a pull-request comment (Markdown)."""

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from ironbind.core.markdown_tables import markdown_table
from ironbind.core.results import write_atomically
from ironbind.gate.findings import Finding
from ironbind.gate.gate import GateReport

MOST_LINES = 20
"""Met demands that a comment lists; more of them are counted."""
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write(report: GateReport, json_file: Path | None, junit_file: Path | None, markdown_file: Path | None) -> None:
    """Writes the report into the files that are named."""
    files = ((json_file, gate_json), (junit_file, junit), (markdown_file, gate_markdown))
    for path, render in files:
        if path is not None:
            write_atomically(path, render(report))


def text(report: GateReport) -> str:
    """Lines for a terminal: one per number, one per failed check, the verdict last."""
    lines = [
        f"{'met ' if finding.met else 'MISS'}  {_title(finding)}: {finding.reason}"
        for finding in (*report.required, *report.compared)
    ]
    lines += [f"FAIL  check {check.code} {check.name} ({check.scope}): {check.detail}" for check in report.failed]
    return "\n".join([*lines, report.verdict])


def gate_json(report: GateReport) -> str:
    """The whole report. `met` says what the exit code says."""
    settings, record = report.settings, report.result.record
    whole = {
        "met": report.met,
        "verdict": report.verdict,
        "run": str(report.folder),
        "name": report.result.name,
        "date": record.get("date"),
        "ironbind": record.get("versions", {}).get("ironbind"),
        "compare": settings.compare.value,
        "requirements": [_finding(finding) for finding in report.required],
        "baseline": None if settings.baseline is None else str(settings.baseline),
        "max_drop": settings.max_drop,
        "comparisons": [_finding(finding) for finding in report.compared],
        "failed_checks": [asdict(check) for check in report.failed],
    }
    return json.dumps(whole, indent=1) + "\n"


def junit(report: GateReport) -> str:
    """JUnit XML: a test case per number, one for the checks, or one per failed check."""
    suite = ElementTree.Element("testsuite", name=f"ironbind gate {_xml(report.result.name)}")
    for group, found in (("requirements", report.required), ("baseline", report.compared)):
        for finding in found:
            _case(suite, group, _title(finding), "" if finding.met else finding.reason, finding.reason)
    for check in report.failed:
        _case(suite, "checks", f"{check.code} {check.name} ({check.scope})", check.detail, "")
    if not report.failed:
        _case(suite, "checks", "no check failed", "", "")
    cases = suite.findall("testcase")
    counts = {"tests": str(len(cases)), "failures": str(len(suite.findall("testcase/failure"))), "errors": "0"}
    suite.attrib.update(counts)
    root = ElementTree.Element("testsuites", {"name": "ironbind gate", **counts})
    root.append(suite)
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def _case(suite: ElementTree.Element, group: str, name: str, failure: str, output: str) -> None:
    case = ElementTree.SubElement(suite, "testcase", classname=f"ironbind.gate.{group}", name=_xml(name))
    if failure:
        ElementTree.SubElement(case, "failure", message=_xml(failure), type="not met").text = _xml(failure)
    elif output:
        ElementTree.SubElement(case, "system-out").text = _xml(output)


def gate_markdown(report: GateReport) -> str:
    """A comment for a pull request: the verdict, what was missed, and what was met as far as there is room."""
    found = (*report.required, *report.compared)
    missed = [finding for finding in found if not finding.met]
    met = [finding for finding in found if finding.met]
    blocks = [f"### {'✅' if report.met else '❌'} ironbind {report.verdict}", f"Run `{report.result.name}`."]
    if report.failed:
        checks = [
            [_cell(part) for part in (check.code, check.name, check.scope, check.detail)] for check in report.failed
        ]
        blocks.append(markdown_table(("failed check", "", "of", "found"), checks))
    shown = [*missed[:MOST_LINES], *met[: max(0, MOST_LINES - len(missed))]]
    if shown:
        lines = [
            ("✅" if finding.met else "❌", *map(_cell, (finding.demand, finding.place or "–", finding.reason)))
            for finding in shown
        ]
        blocks.append(markdown_table(("", "required", "of", "measured"), lines))
    if len(found) > len(shown):
        blocks.append(f"And {len(found) - len(shown)} more in the JSON report.")
    return "\n\n".join(blocks) + "\n"


def _cell(value: str) -> str:
    """A cell of one line in which names from data are no markup."""
    escaped = " ".join(value.split()).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\`*_\[\]@#])", r"\\\1", escaped)


def _title(finding: Finding) -> str:
    return f"{finding.demand} [{finding.place}]" if finding.row else finding.demand


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "require": finding.demand,
        "met": finding.met,
        "compared": finding.compared,
        "reason": finding.reason,
        "row": asdict(finding.row) if finding.row else None,
    }


def _xml(value: str) -> str:
    """Without the characters that XML cannot hold."""
    return _NOT_XML.sub("�", value)
