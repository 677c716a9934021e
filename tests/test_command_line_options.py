"""Every option of every command. The list is short on purpose: what is rarer than these, a function of the user's own
says (docs/your-own-audit.md). A new option has to be written down here, and its reason in the commit.
"""

from collections.abc import Iterator
from typing import Any

from typer.main import get_command

from ironbind.cli import app

OPTIONS = {
    "audit": (
        "--out --encoder --weights --device --heads --data --layout --data-option --modality --space --norm --eps "
        "--attack --steps --limit --seed --batch-size --workers --fresh --progress --tensorboard"
    ),
    "calibrate": (
        "--out --encoder --weights --device --modality --data --start --samples --steps --head --rank --eps --noise "
        "--distillation --also --seed --batch-size --progress --tensorboard"
    ),
    "certify": (
        "--out --encoder --weights --device --heads --data --layout --data-option --modality --space --sigma --draws "
        "--confidence --norm --eps --retrieval --no-attack --limit --seed --batch-size --workers "
        "--fresh --progress"
    ),
    "export": "--out --modality --heads --format --encoder --weights",
    "ablate": (
        "--recipes --out --encoder --weights --device --modality --data --train-data --eps --samples --steps --limit "
        "--seed --workers --fresh --progress"
    ),
    "demo": "--out --seed --samples --workers --full --fresh --progress",
    "selftest": "--seed --out --full",
    "report": "--out",
    "leaderboard": "--out",
    "evidence": "--out --modality --eps --samples",
    "gate": "--require --baseline --max-drop --compare --json --junit --markdown",
    "ls": "",
    "weights": "",
    "world export": "--n --split --seed --modality",
    "data check": "--layout --modality --data-option --limit --sheet --seed",
    "data centers": "--out",
    "index scan": (
        "--out --queries --natural --part --modalities --query-part --query-modalities --metric --k --concepts "
        "--sample --alert-budget --seed"
    ),
    "index check": (
        "--item --out --queries --natural --part --modalities --query-part --query-modalities --item-modalities "
        "--metric --k --concepts --sample --alert-budget --seed"
    ),
}
ARGUMENTS = {
    "audit": ["recipe"],
    "calibrate": ["recipe"],
    "certify": ["recipe"],
    "report": ["runs"],
    "leaderboard": ["runs"],
    "evidence": ["run"],
    "gate": ["run"],
    "ls": ["what"],
    "world export": ["folder"],
    "data check": ["path"],
    "data centers": ["source"],
    "index scan": ["index"],
    "index check": ["index"],
}


def commands(group: Any, *path: str) -> Iterator[tuple[str, Any]]:
    """Name of every command, groups in front of it, and the command."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, *path, name)
        else:
            yield " ".join([*path, name]), command


COMMANDS = dict(commands(get_command(app)))


def test_options_are_those_of_the_list():
    offered = {
        name: [
            option for parameter in command.params if parameter.param_type_name == "option" for option in parameter.opts
        ]
        for name, command in COMMANDS.items()
    }
    assert offered == {name: options.split() for name, options in OPTIONS.items()}
    assert not [
        parameter.secondary_opts
        for command in COMMANDS.values()
        for parameter in command.params
        if parameter.secondary_opts
    ]


def test_arguments_are_those_of_the_list():
    taken = {
        name: [parameter.name for parameter in command.params if parameter.param_type_name == "argument"]
        for name, command in COMMANDS.items()
    }
    assert taken == {name: ARGUMENTS.get(name, []) for name in OPTIONS}


def test_every_option_is_explained():
    bare = [
        f"{name} {parameter.name}"
        for name, command in COMMANDS.items()
        for parameter in command.params
        if not getattr(parameter, "help", None)
    ]
    assert not bare
    assert all(command.help for command in COMMANDS.values())
