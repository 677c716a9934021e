"""docs/attacks.md: it names everything there is, its costs are those that attacks count, and its examples run."""

import re
from pathlib import Path

import pytest
import torch

from ironbind.attacks import ATTACKS
from ironbind.core.results import THREAT_MODELS
from ironbind.modalities.corruptions import CORRUPTIONS
from ironbind.recipes import AUDITS
from ironbind.types import Linf, Space
from toys import Scorer, rng

PAGE = (Path(__file__).parents[1] / "docs" / "attacks.md").read_text(encoding="utf-8")
ROWS = {
    found[1]: [cell.strip() for cell in found[0].split("|")[1:-1]]
    for found in re.finditer(r"^\| `(\w+)` \|.*\|$", PAGE, flags=re.M)
}
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, flags=re.S)


@pytest.mark.parametrize("name", ATTACKS)
def test_every_attack_has_its_row(name):
    _, purpose, source, cost, _ = ROWS[name]
    assert purpose
    assert source
    assert re.match(r"\d+ \+ |see there", cost)


@pytest.mark.parametrize("name", ["pgd", "apgd", "crossmaxim", "fgsm", "noise"])
def test_costs_are_counted(name):
    found = ATTACKS[name]()(
        lambda x: x, torch.zeros(4, 6), Scorer(torch.randn(4, 6)), Space("free", "anything"), Linf(1), rng(4)
    )
    assert ROWS[name][3] == f"{int(found.gradient_passes[0])} + {int(found.forward_passes[0])}"


@pytest.mark.parametrize("name", [*THREAT_MODELS, *CORRUPTIONS])
def test_every_threat_model_and_every_corruption_is_told(name):
    assert f"`{name}`" in PAGE or name == "clean"


def test_commands_exist():
    asked = set(re.findall(r"ironbind audit (\w+)", PAGE))
    assert asked >= {"corruptions", "universal"}
    assert "`recipes.transfer(request, surrogate=...)`" in PAGE  # said in Python
    assert asked - {"curve"} <= set(AUDITS)


def test_examples_run(monkeypatch):
    """One after the other, as a reader would; without the checks, which are tested elsewhere and take long."""
    monkeypatch.setattr("ironbind.evaluate.audit.checks_of", lambda context, scope, record: [])
    namespace: dict = {}
    for example in EXAMPLES:
        exec(compile(example, "docs/attacks.md", "exec"), namespace)
    assert namespace["found"]["behind"] < namespace["found"]["masked"] - 25
