"""The class centers of a task: from a file, or built from prompts; what took long to build is kept on disk for the next
run.

The cache lies in IRONBIND_CACHE (else ~/.cache/ironbind). Its entries are keyed by the encoder's weights, how it was
loaded, and every prompt, and one prompt is embedded again before an entry is used, so that a wrong entry is never used;
the folder may be deleted at any time.
"""

import json
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors.torch import load, save
from torch import Tensor

from ironbind.data.names.prompts import prompts_named
from ironbind.encoders.unibind.center_files import load_centers
from ironbind.evaluate.run_context import ProgressCallback, no_progress
from ironbind.evaluate.tasks.text_centers import prompt_means
from ironbind.numerics import ranks
from ironbind.numerics.content_cache import CacheFormat, cache_folder, content_key
from ironbind.numerics.networks import device_of, modules_of
from ironbind.runs.centers_by_name import aligned
from ironbind.runs.encoder_spec import Options
from ironbind.runs.prompted_tasks import templates_for
from ironbind.types import ClassCenters, Dataset, Encoder, InputError, backbone_of, undefended_of

BLOCK = 2048  # prompts embedded between two stored blocks: the most that a killed run loses
ALIKE = 0.999  # cosine of a prompt to itself, from run to run and in half precision
WORTH = 1.0  # seconds from which a block is kept: the built-in encoder leaves no files behind
# options that change no text embedding, or that the weights' hash says better
UNKEYED_OPTIONS = ("device", "modalities", "checkpointing", "weights")


def centers_for(
    encoder: Encoder,
    dataset: Dataset,
    modality: str,
    *,
    prompts: str | None = None,
    centers: str | Path | None = None,
    options: Options = (),
    progress: ProgressCallback = no_progress,
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
        rows = load_centers(centers)
        if rows.z.shape[1] != encoder.dim:
            raise InputError(
                f"centers {str(centers)!r} have {rows.z.shape[1]} numbers a row; expected {encoder.dim}, as encoder"
                f" {encoder.name!r} has"
            )
        return aligned(rows, dataset.classes, str(centers))
    templates, classes = templates_for(dataset, modality), tuple(dataset.classes)
    if prompts is not None:
        chosen = prompts_named(prompts)
        templates, classes = chosen.templates_for(modality), chosen.classes_for(dataset.name, classes)
    built = built_centers(encoder, classes, templates, options=options, progress=progress)
    return ClassCenters(built.z, built.label, tuple(dataset.classes))


def built_centers(
    encoder: Encoder,
    classes: Sequence[str],
    templates: Sequence[str],
    *,
    options: Options = (),
    folder: Path | None = None,
    worth: float = WORTH,
    progress: ProgressCallback = no_progress,
) -> ClassCenters:
    """`text_centers`, in blocks of classes that are kept in `folder` (None: `cache_folder()`) where one takes longer
    than `worth` seconds. A task refuses centers that cannot be used (`class_centers.usable`). Raises InputError for
    no class.
    """
    step = max(1, BLOCK // max(1, len(templates)))
    parts: list[Tensor] = []
    device = device_of(encoder)
    for first in range(0, len(classes), step):
        block = tuple(classes[first : first + step])
        path = (folder or cache_folder()) / "centers" / f"{_key(encoder, options, block, templates)}.safetensors"
        entry = _entry(encoder, block, templates)

        def embedded(
            block: Sequence[str] = block, path: Path = path, entry: CacheFormat[dict[str, Tensor]] = entry
        ) -> Tensor:
            stored = entry.read(path)
            if stored is not None:
                return stored["z"]
            started = time.perf_counter()
            z = prompt_means(encoder, block, templates).detach()
            if time.perf_counter() - started >= worth:
                with suppress(OSError):  # a cache that cannot be written costs time, not results
                    entry.write(path, {"z": z, "probe": _probe(encoder, block, templates)})
            return z.cpu()

        parts.append(ranks.current().from_first(embedded).to(device))
        if step < len(classes):  # a single block is quick
            progress("prompts", min(first + step, len(classes)), len(classes))
    if not parts:
        prompt_means(encoder, classes, templates)  # raises for no class
    return ClassCenters(torch.cat(parts), torch.arange(len(classes), device=device), tuple(classes))


def _key(encoder: Encoder, options: Options, classes: Sequence[str], templates: Sequence[str]) -> str:
    # the text side is the frozen backbone's
    below = backbone_of(undefended_of(encoder))
    kinds = sorted({str(parameter.dtype) for module in modules_of(below) for parameter in module.parameters()})
    loaded = [(name, str(value)) for name, value in options if name not in UNKEYED_OPTIONS]
    content: list[Any] = [below.name, below.weights_sha256, below.dim, kinds, loaded, list(classes), list(templates)]
    return content_key(content, length=32)


def _probe(encoder: Encoder, classes: Sequence[str], templates: Sequence[str]) -> Float[Tensor, "1 d"]:
    return prompt_means(encoder, classes[:1], templates[:1]).detach().cpu()


def _entry(encoder: Encoder, classes: Sequence[str], templates: Sequence[str]) -> CacheFormat[dict[str, Tensor]]:
    """A block of centers, and a prompt to know the text side by, in a file that says whose they are. Reading raises
    ValueError for a block of another size or not finite, and where the encoder does not read the prompt as it did:
    weights say nothing about a tokenizer.
    """
    about = {"encoder": encoder.name, "classes": json.dumps(list(classes)), "templates": json.dumps(list(templates))}

    def encode(entry: dict[str, Tensor]) -> bytes:
        return save({name: tensor.cpu().contiguous() for name, tensor in entry.items()}, metadata=about)

    def decode(content: bytes) -> dict[str, Tensor]:
        entry = load(content)
        z, probe = entry["z"], entry["probe"]
        if z.shape != (len(classes), encoder.dim) or not torch.isfinite(z).all():
            raise ValueError(f"shape {tuple(z.shape)}, or numbers that are not finite")
        if float((_probe(encoder, classes, templates) * probe).sum()) <= ALIKE:
            raise ValueError("the encoder reads its prompts in another way")
        return entry

    return CacheFormat(encode, decode)
