"""The GitHub Action and the GitLab job, executed: their steps as they stand, in bash."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from test_gate import ROWS
from written_runs import write_run

ROOT = Path(__file__).parents[2]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
GITLAB = yaml.safe_load((ROOT / "docs" / "ci" / "gitlab.yml").read_text(encoding="utf-8"))


@pytest.fixture
def workplace(tmp_path):
    """A folder with a run, and an environment whose `ironbind` is this checkout's."""
    write_run(tmp_path / "runs" / "audit", ROWS)
    command = tmp_path / "bin" / "ironbind"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m ironbind "$@"\n')
    command.chmod(0o755)
    path = f"{command.parent}{os.pathsep}{os.environ['PATH']}"
    return tmp_path, {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT / "src")}


def value(text: str, inputs: dict[str, str]) -> str:
    """An expression of a workflow, of the two kinds that the action uses."""
    text = re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda match: inputs[match[1]], str(text))
    return text.replace("${{ github.action_path }}", str(ROOT))


def act(workplace, **given) -> tuple[int, dict[str, str], str]:
    """Runs the action's steps as a runner does: exit code, outputs, summary."""
    folder, environment = workplace
    defaults = {name: spec.get("default", "") for name, spec in ACTION["inputs"].items()}
    inputs = {**defaults, **{name.replace("_", "-"): text for name, text in given.items()}}
    output, summary = folder / "output", folder / "summary"
    output.write_text("")
    summary.write_text("")
    code = 0
    for step in ACTION["runs"]["steps"]:
        assert step["shell"] == "bash"
        assert "${{" not in step["run"]  # an input in a script would be run as code
        own = {name: value(text, inputs) for name, text in step.get("env", {}).items()}
        own |= {"GITHUB_OUTPUT": str(output), "GITHUB_STEP_SUMMARY": str(summary)}
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
        code = subprocess.run(command, cwd=folder, env={**environment, **own}, capture_output=True).returncode
        if code:
            break
    outputs = dict(line.split("=", 1) for line in output.read_text().splitlines())
    return code, outputs, summary.read_text()


@pytest.mark.parametrize(
    ("require", "code", "met"),
    [
        ("image 4/255 adaptive >= 60\n\n  image clean >= 85\n", 0, "true"),
        ("image 4/255 adaptive >= 60\nimage clean >= 99\n", 1, "false"),
        ("image 4/255 adaptive >=\n", 2, None),
        ('image clean >= 1 $(touch pwned) `touch pwned` "; touch pwned\n', 2, None),
    ],
)
def test_the_action(workplace, require, code, met):
    got, outputs, summary = act(workplace, run="runs/audit", require=require)
    assert (got, outputs.get("met")) == (code, met)
    assert ("gate: met" in summary, "gate: not met" in summary) == (met == "true", met == "false")
    if met:
        report = json.loads((workplace[0] / "ironbind-gate" / "gate.json").read_text())
        assert str(report["met"]).lower() == met
        assert len(report["requirements"]) == 2
    assert not (workplace[0] / "pwned").exists()


def test_the_action_with_a_baseline(workplace):
    options = {"run": "runs/audit", "baseline": "runs/audit", "max_drop": "2", "compare": "value"}
    assert act(workplace, **options)[:2] == (0, {"met": "true", "markdown": "ironbind-gate/gate.md"})
    assert act(workplace, **{**options, "max_drop": ""})[0] == 2


@pytest.mark.parametrize(("require", "code"), [("image 4/255 adaptive >= 60", 0), ("image 4/255 adaptive >= 90", 1)])
def test_the_gitlab_job(workplace, require, code):
    folder, environment = workplace
    job = GITLAB["ironbind-gate"]
    variables = {**job["variables"], "REQUIRE": require}
    got = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", "\n".join(job["script"])],
        cwd=folder, env={**environment, **variables}, capture_output=True,
    ).returncode  # fmt: skip
    assert got == code
    files = [*job["artifacts"]["paths"], job["artifacts"]["reports"]["junit"]]
    assert all((folder / name).exists() for name in files)


def test_the_gate_needs_no_torch(workplace):
    """What the action installs where ironbind is missing: the package alone, typer and rich."""
    folder, environment = workplace
    code = (
        "import sys\n"
        "for name in ('torch', 'numpy', 'jaxtyping', 'safetensors', 'jinja2', 'PIL', 'av', 'soundfile', 'yaml'):\n"
        "    sys.modules[name] = None\n"
        "sys.argv = ['ironbind', 'gate', 'runs/audit', '--require', 'image clean >= 85', '--junit', 'gate.xml']\n"
        "from ironbind.__main__ import main\n"
        "main()\n"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
