"""Prepared inputs of one modality of a data set, kept in memory while they are small, so that many tasks over the same
data decode it once.
"""

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ironbind.core.samples import Remark
from ironbind.evaluate.inputs.decode_workers import Prepared, shared
from ironbind.numerics import ranks
from ironbind.numerics.networks import device_of
from ironbind.types import Dataset, Encoder, InputError, InputSpec

KEEP_BYTES = 512 * 2**20  # per data set and modality; larger ones are decoded at every call


# By id rather than by equality, as an owner need not be hashable; the finaliser removes an entry before its id can
# come back. `prepare` itself is in the key of prepared tensors: its id alone could be given to another function once it
# is gone.
_tensors: dict[int, dict[Any, Any]] = {}
_embeddings: dict[int, dict[Any, Any]] = {}
_remarks: dict[int, dict[Any, Any]] = {}


def cache_of(cache: dict[int, dict[Any, Any]], owner: object) -> dict[Any, Any]:
    """The entry of a data set or an encoder in a cache, which lives as long as its owner."""
    if id(owner) not in cache:
        weakref.finalize(owner, cache.pop, id(owner), None)
        cache[id(owner)] = {}
    return cache[id(owner)]


def remarks_on(dataset: Dataset, modality: str, indices: Sequence[int]) -> dict[str, tuple[Remark, ...]]:
    """What the readers of these samples remarked when they were prepared in this process, by sample id."""
    remarks = cache_of(_remarks, dataset).get(modality, {})
    return {dataset.ids[index]: remarks[index] for index in indices if remarks.get(index)}


def load_native(encoder: Encoder, dataset: Dataset, modality: str, indices: Sequence[int]) -> Float[Tensor, "b ..."]:
    """The samples as native tensors of the encoder, in order. Raises InputError for unreadable or not finite samples,
    naming them.
    """
    spec = encoder.inputs[modality]
    size = 4 * int(torch.tensor(spec.shape).prod()) * len(dataset)
    if size > KEEP_BYTES:
        return torch.stack([tensor for _, tensor in _prepare(spec, dataset, indices)])
    # `prepare` belongs to the backbone, which a calibrated encoder shares with it: so do the prepared tensors
    tensors: dict[int, Tensor] = cache_of(_tensors, dataset).setdefault((modality, spec.shape, spec.prepare), {})
    tensors.update(_prepare(spec, dataset, [index for index in indices if index not in tensors]))
    return torch.stack([tensors[index] for index in indices])


def cached_embeddings(
    encoder: Encoder, dataset: Dataset, modality: str, embed: Callable[[], Tensor]
) -> Float[Tensor, "n d"]:
    """The clean embeddings of a whole data set, computed by `embed` at the first call: every task over the same data
    uses them.
    """
    embeddings: dict[Any, Tensor] = cache_of(_embeddings, dataset)
    key: tuple[Any, ...] = encoder.weights_sha256, str(device_of(encoder)), modality
    if ranks.current().dealing and key not in embeddings:
        key = (*key, "alone")  # ranks that embed together must all miss, or all find
    if key not in embeddings:
        embeddings[key] = embed()
    return embeddings[key]


def _prepare(spec: InputSpec, dataset: Dataset, indices: Sequence[int]) -> list[tuple[int, Tensor]]:
    """Numbers and native tensors of these samples, in order."""
    if not indices:
        return []
    key = id(dataset), spec.modality, spec.shape, id(spec.prepare)
    samples = shared(key, indices, lambda share: _prepared(spec, dataset, share))
    remarks = cache_of(_remarks, dataset).setdefault(spec.modality, {})
    remarks.update({index: sample.remarks for index, sample in zip(indices, samples, strict=True)})
    return [(index, sample.tensor) for index, sample in zip(indices, samples, strict=True)]


def _prepared(spec: InputSpec, dataset: Dataset, indices: Sequence[int]) -> list[Prepared]:
    out = []
    for index, decoded in zip(indices, dataset.decode(spec.modality, indices), strict=True):
        x = spec.prepare(decoded)
        where = f"{dataset.name}: {spec.modality} sample {dataset.ids[index]!r}"
        if tuple(x.shape) != spec.shape:
            raise InputError(f"{where} was prepared to shape {tuple(x.shape)}; the encoder expects {spec.shape}")
        if not torch.isfinite(x).all():
            raise InputError(f"{where} holds values that are not finite numbers")
        if (spec.space.low is not None and x.min() < spec.space.low - 1e-6) or (
            spec.space.high is not None and x.max() > spec.space.high + 1e-6
        ):
            bounds = f"[{spec.space.low}, {spec.space.high}]"
            raise InputError(
                f"{where} reaches [{x.min():.4g}, {x.max():.4g}], outside the bounds {bounds} of space "
                f"{spec.space.name}"
            )
        out.append(Prepared(x.float(), getattr(decoded, "remarks", ())))
    return out
