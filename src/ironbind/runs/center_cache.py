"""Which class centers a task compares with: from a file, or built from prompts; what took long to build is kept on disk
for the next time.

The cache lies in IRONBIND_CACHE (else ~/.cache/ironbind). Its entries are keyed by the encoder's weights, how it was
loaded, and every prompt, so that an entry is right or not found; the folder may be deleted at any time.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from ironbind.core.results import write_atomically
from ironbind.data.names.class_names import TEXTS, plain
from ironbind.data.names.prompts import prompts_named
from ironbind.encoders.unibind.center_files import load_centers
from ironbind.evaluate.tasks.zero_shot import text_centers
from ironbind.numerics.networks import device_of
from ironbind.runs.encoder_spec import Options
from ironbind.runs.prompted_tasks import templates_for
from ironbind.types import ClassCenters, Dataset, Encoder, InputError, backbone_of

BLOCK = 2048  # prompts embedded between two looks at the clock: what a killed run loses at most
WORTH = 1.0  # seconds from which a block is kept: the built-in encoder leaves no files behind
# options that change no text embedding, or that the weights' hash says better
NOT_SAID = ("device", "modalities", "checkpointing", "weights")

Tell = Callable[[str, int, int], None]


def cache_folder() -> Path:
    """Where things that are dear to compute are kept between runs."""
    return Path(
        os.environ.get("IRONBIND_CACHE")
        or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "ironbind"
    )


def centers_for(
    encoder: Encoder,
    dataset: Dataset,
    modality: str,
    *,
    prompts: str | None = None,
    centers: str | Path | None = None,
    options: Options = (),
    tell: Tell = lambda what, done, total: None,
) -> ClassCenters:
    """One class per class of the data set, in its order.

    `centers`: a file of rows per class, matched by name; more classes in it do not count. `prompts`: a name of PROMPTS
    or a file of templates (None: the data set's own templates, else the modality's). `options`: what the encoder was
    loaded with. Raises InputError.
    """
    if centers is not None:
        if prompts is not None:
            raise InputError(
                f"centers file {centers} and prompts {prompts} exclude each other: centers in a file need no prompts"
            )
        found = load_centers(centers)
        if found.z.shape[1] != encoder.dim:
            raise InputError(
                f"centers {str(centers)!r} have {found.z.shape[1]} numbers a row; expected {encoder.dim}, as encoder {encoder.name!r} has"
            )
        return aligned(found, dataset.classes, str(centers))
    templates, classes = templates_for(dataset, modality), tuple(dataset.classes)
    if prompts is not None:
        chosen = prompts_named(prompts)
        templates, classes = chosen.templates_for(modality), chosen.classes_for(dataset.name, classes)
    built = built_centers(encoder, classes, templates, options=options, tell=tell)
    return ClassCenters(built.z, built.label, tuple(dataset.classes))


def aligned(centers: ClassCenters, classes: Sequence[str], where: str) -> ClassCenters:
    """The rows of these classes, numbered in this order. Names are compared without case, blanks and punctuation, and
    LanguageBind's and CLIP's words for a class count as its name. Raises InputError for a class without rows."""
    there = {plain(name): number for number, name in enumerate(centers.names)}
    if len(there) < len(centers):
        raise InputError(f"centers {where!r} have two classes of one name; expected {len(centers)} different ones")
    aliases: dict[str, list[str]] = {}
    for sets in TEXTS.values():
        for one in sets.values():
            for name, text in one.items():
                aliases.setdefault(plain(name), []).append(plain(text))
    rows, label = [], []
    for number, name in enumerate(classes):
        found = next((there[one] for one in (plain(name), *aliases.get(plain(name), ())) if one in there), None)
        if found is None:
            shown = ", ".join(centers.names[:5]) + (", ..." if len(centers) > 5 else "")
            raise InputError(
                f"centers {where!r} have no row for the class {name!r}; expected all {len(classes)} classes of the data (it has {shown})"
            )
        mine = (centers.label == found).nonzero().squeeze(1)
        rows.append(mine)
        label += [number] * len(mine)
    return ClassCenters(centers.z[torch.cat(rows)], torch.tensor(label, device=centers.z.device), tuple(classes))


def built_centers(
    encoder: Encoder,
    classes: Sequence[str],
    templates: Sequence[str],
    *,
    options: Options = (),
    folder: Path | None = None,
    worth: float = WORTH,
    tell: Tell = lambda what, done, total: None,
) -> ClassCenters:
    """`text_centers`, in blocks of classes that are kept in `folder` (None: `cache_folder()`) where one takes longer
    than `worth` seconds.
    """
    step = max(1, BLOCK // max(1, len(templates)))
    parts: list[Tensor] = []
    device = device_of(encoder)
    for first in range(0, len(classes), step):
        some = tuple(classes[first : first + step])
        path = (folder or cache_folder()) / "centers" / f"{_key(encoder, options, some, templates)}.safetensors"
        z = _read(path, (len(some), encoder.dim))
        if z is None:
            started = time.perf_counter()
            z = text_centers(encoder, some, templates).z.detach()
            if time.perf_counter() - started >= worth:
                _write(path, z, encoder, some, templates)
        parts.append(z.to(device))
        if step < len(classes):  # a single block is done before anybody wonders
            tell("prompts", min(first + step, len(classes)), len(classes))
    if len(parts) == 1:
        return ClassCenters(parts[0], torch.arange(len(classes), device=device), tuple(classes))
    if not parts:
        return text_centers(encoder, classes, templates)  # says what is missing
    return ClassCenters(torch.cat(parts), torch.arange(len(classes), device=device), tuple(classes))


def _key(encoder: Encoder, options: Options, classes: Sequence[str], templates: Sequence[str]) -> str:
    # the text side is the frozen backbone's
    below = backbone_of(encoder)
    model = getattr(below, "model", None)
    kinds = sorted({str(one.dtype) for one in model.parameters()}) if isinstance(model, torch.nn.Module) else []
    loaded = [(name, str(value)) for name, value in options if name not in NOT_SAID]
    said: list[Any] = [below.name, below.weights_sha256, below.dim, kinds, loaded, list(classes), list(templates)]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:32]


def _read(path: Path, shape: tuple[int, int]) -> Tensor | None:
    """An entry, or None where there is none that can be used (it is then made again)."""
    if not path.is_file():
        return None
    try:
        z = load_file(path)["z"]
    except (SafetensorError, OSError, KeyError):
        return None
    return z if tuple(z.shape) == shape and bool(torch.isfinite(z).all()) else None


def _write(path: Path, z: Tensor, encoder: Encoder, classes: Sequence[str], templates: Sequence[str]) -> None:
    about = {"encoder": encoder.name, "classes": json.dumps(list(classes)), "templates": json.dumps(list(templates))}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, save({"z": z.cpu().contiguous()}, metadata=about))
    except OSError:
        return  # a cache that cannot be written costs time, not results
