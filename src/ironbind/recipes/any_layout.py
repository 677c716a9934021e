"""The recipe for data of one's own, in any layout that `ironbind.data` reads: `ironbind audit data --data DIR`."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ironbind.data import DATASETS, likeliest
from ironbind.data.inspect.inspection import Inspection
from ironbind.data.listing import UNLABELLED
from ironbind.recipes.paper.grid import COLUMNS
from ironbind.recipes.world_and_folder import Choices, either, jobs_for
from ironbind.runs.data_spec import DataSpec
from ironbind.runs.extra_tasks import ExtraTask
from ironbind.runs.run_job import Job
from ironbind.types import InputError

ALWAYS = ("path", "modality", "limit", "seed", "skip_unreadable")  # said by other options of the command line


def data(choices: Choices) -> list[Job]:
    """Data of one's own: class folders, a CSV, UniBind's JSON list, or any published layout, in one modality or all
    that are there.

    `--layout` names the layout (None: what `ironbind data check` finds likeliest), `--data-option` what its loader
    takes further: `fold=1`, `columns.image=photo`, `columns.caption=text_1+text_2`. Data without classes are audited by
    retrieval with their captions.
    """
    if not choices.data:
        raise InputError(
            "--data PATH is missing: the recipe 'data' audits files in any layout (see `ironbind ls datasets`)"
        )
    path = str(Path(choices.data))
    layout = choices.layout or _likeliest(path)
    options = loader_options(layout, choices.data_options)
    takes = DATASETS[layout].options
    modalities = choices.modalities
    if modalities and "modality" in takes:
        options["modality"] = modalities[0] if len(modalities) == 1 else modalities
    options |= {"skip_unreadable": True} if choices.skip_unreadable else {}
    whole = choices.retrieval
    cut = {} if whole or choices.limit is None else {"limit": choices.limit, "seed": choices.seed}
    origin = DataSpec(layout, path, {**options, **cut})
    found = origin.load()  # what is wrong with the data shows now
    wanted = modalities or found.modalities
    absent = next((one for one in wanted if one not in found.modalities), None)
    if absent is not None:
        raise InputError(f"--modality {absent}: {path} holds {', '.join(found.modalities)}")
    jobs = jobs_for(replace(choices, limit=None), layout, path, dict(origin.options), wanted)
    limit = choices.limit if whole else None
    jobs = [replace(job, data_options=dict(origin.options), limit=limit) for job in jobs]
    if found.classes != UNLABELLED:
        return [replace(job, questions=tuple(replace(one, limit=limit) for one in job.questions)) for job in jobs]
    if found.captions is None:
        raise InputError(f"{path}: has neither classes nor captions; expected one of them to compare with")
    asked = [
        ExtraTask("retrieval", ("text",), limit, everywhere=True, attacks=job.attacks, checked=True) for job in jobs
    ]
    return [replace(job, attacks=(), gallery_items=0, questions=(one,)) for job, one in zip(jobs, asked, strict=True)]


def classified(choices: Choices) -> list[Job]:
    """Zero-shot jobs over whatever data the user chose: any layout, class folders, or else the built-in world. Raises
    InputError for data without classes."""
    jobs = data(choices) if choices.layout or choices.data_options else either(choices)
    if any(job.questions for job in jobs):
        raise InputError(f"--data {choices.data}: holds no classes to tell apart; expected data with classes")
    return jobs


def _likeliest(path: str) -> str:
    if not Path(path).exists():
        raise InputError(f"--data {path}: no such file or folder; expected the data to audit")
    return likeliest(path)


def loader_options(layout: str, given: Sequence[str]) -> dict[str, Any]:
    """What a loader takes, out of `key=value`. Whole numbers are numbers, `a+b` is a list, `key.name=value` fills a
    mapping. Raises InputError.
    """
    takes = [name for name in DATASETS[layout].options if name not in ALWAYS]
    options: dict[str, Any] = {}
    for one in given:
        key, equals, value = one.partition("=")
        name, _, inside = key.strip().partition(".")
        if not equals or name not in takes:
            raise InputError(
                f"--data-option {one}: the layout {layout!r} takes {', '.join(f'{name}=...' for name in takes)}"
            )
        if inside:
            options.setdefault(name, {})[inside] = _value(value)
        else:
            options[name] = _value(value)
    return options


def _value(text: str) -> Any:
    parts = [part.strip() for part in text.split("+")]
    made = [
        int(part) if part.lstrip("-").isdigit() else {"true": True, "false": False}.get(part.lower(), part)
        for part in parts
    ]
    return made[0] if len(made) == 1 else tuple(made)


def command_for(found: Inspection) -> str:
    """The audit that fits what `ironbind data check` found."""
    listing, path = found.listing, shlex.quote(str(found.path))
    kind = next(iter(listing.modalities))
    columns = [one for one in COLUMNS.values() if one.layout == found.layout and one.modality == kind]
    plain_options = {key: value for key, value in found.options.items() if key != "modality"}
    fitting = [one for one in columns if ("zero_shot" in one.asks) == (listing.classes != UNLABELLED)]
    if fitting and not plain_options:
        return f"ironbind audit paper/{fitting[0].name}/tiny --data {path} --calibration none"
    said = "".join(
        f" --data-option {key}={_written(value)}"
        for key, value in plain_options.items()
        if not isinstance(value, Mapping)
    )
    for key, value in plain_options.items():
        if isinstance(value, Mapping):
            said += "".join(f" --data-option {key}.{name}={_written(one)}" for name, one in value.items())
    modality = f" --modality {kind}" if "modality" in found.options or len(listing.modalities) > 1 else ""
    captions = " --retrieval" if listing.all_captions is not None and listing.classes != UNLABELLED else ""
    if found.layout == "folder" and not plain_options and listing.classes != UNLABELLED:
        return f"ironbind audit folder --data {path} --modality {kind}{captions}"
    return f"ironbind audit data --data {path} --layout {found.layout}{modality}{said}{captions}"


def _written(value: Any) -> str:
    return shlex.quote("+".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value))
