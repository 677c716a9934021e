"""Wide adapters made narrow: the low-rank updates that a training ended with, cut down to a number of parameters, each
layer to the rank that its share of the effect deserves.

A rank that is the same everywhere spends parameters where little changes. What a training did with plenty of rank says
where they matter: the singular values of each update, measured in the change of the layer's answers, tell what every
further rank would keep, at the price of one row and one column. Ours; after AdaLoRA (Zhang et al. 2023, arXiv
2303.10512), which prunes by a similar score during training, and activation-aware SVD (Yuan et al. 2023, arXiv
2312.05821), for the scale. Or brought into another shape as they are (`reshaped`). The result is a start for further
training (`calibrate(..., start=...)`).

Letters: o = outputs of a layer, i = what one output sees (inputs times kernel), k = directions.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ironbind.calibration.adapters import SEPARATOR, Adapted, Adapters
from ironbind.calibration.calibrated import Calibrated
from ironbind.calibration.low_rank import LowRank
from ironbind.calibration.purifiers import Planes
from ironbind.numerics.batching import batches
from ironbind.numerics.networks import frozen
from ironbind.types import AdapterShape, InputError, Task

BATCH = 50


class Scale(NamedTuple):
    """Of one layer over the samples: root mean square of what each column of its weight meets, and of its answers."""

    inputs: Float[Tensor, " i"]
    answers: float


class Direction(NamedTuple):
    """One singular direction of an update: what it changes in the layer's answers, as a share of their mean square, by
    parameter; the layer; its number there; how many parameters it takes.
    """

    worth: float
    layer: str
    number: int
    price: int


def narrowed(hard: Calibrated, task: Task, parameters: int, rows: Sequence[int] | None = None) -> Calibrated:
    """`hard` with at most `parameters` trained parameters in the adapters of the task's modality: norms are kept whole,
    low-rank updates cut to the directions that change most of their layers' answers on the samples `rows` of the task
    (default: the first 200). Without a purifier and without a head; other modalities are left out.

    Raises InputError where there is no low-rank update to cut, where a purifier or copied weights would be lost, or
    where the norms alone are more than `parameters`.
    """
    wide = hard.adapters.get(task.modality)
    if wide is not None and wide.shape.core:
        raise InputError(
            f"calibration {hard.calibration!r} trained the cores of its updates for {task.modality}, which have few "
            "parameters already; expected updates of which both factors were trained"
        )
    if wide is None or "low_rank" not in wide.shape.kinds:
        raise InputError(f"calibration {hard.calibration!r} has no low-rank updates for {task.modality} to narrow")
    lost = [kind for kind in ("purifier", "weights") if kind in wide.shape.kinds]
    if lost or task.modality in hard.heads:
        raise InputError(
            f"calibration {hard.calibration!r} has {' and '.join(lost) or 'a head'} for {task.modality}, which "
            "narrowing would lose; expected low-rank updates and norms alone"
        )
    updates = {
        name.replace(SEPARATOR, "."): part
        for name, part in wide.parts["low_rank"].named_children()
        if isinstance(part, LowRank)
    }
    norms = sum(parameter.numel() for parameter in wide.parts["norms"].parameters())
    if norms > parameters:
        raise InputError(f"{parameters:,} parameters: the norms of {task.modality} alone have {norms:,}")
    scales = _scales(wide, updates, task.on(hard), range(min(200, len(task))) if rows is None else rows)
    ranks = _ranks(updates, scales, parameters - norms)
    shape = replace(wide.shape, rank=0, ranks=ranks)
    made = Adapters(hard.backbone, task.modality, shape)
    with torch.no_grad():
        made.parts["norms"].load_state_dict(wide.parts["norms"].state_dict())
        for name, part in made.parts["low_rank"].named_children():
            layer = name.replace(SEPARATOR, ".")
            assert isinstance(part, LowRank)
            _fill(part, updates[layer], scales[layer])
    return _with(hard, made)


def reshaped(hard: Calibrated, modality: str, shape: AdapterShape) -> Calibrated:
    """`hard` with adapters of another `shape` in one modality, as a start for further training; other modalities are
    left out.

    Where the new shape has all of the old one, this is the same function: updates grow, and what only the new shape has
    is the identity. Cores take the nearest update that they can be, from updates of any kind (least squares; of a wider
    core this is the leading block), and a narrower purifier of planes keeps its strongest channels: a start with few
    parameters that training brings back quickly (docs/hardening.md). Raises InputError where a head, copied weights,
    norms or a purifier would be lost, for a purifier of more channels than before (of points and signals: of any other
    number), for a layer without an update that had one, and for updates of two factors that are narrower than before.
    """
    old = hard.adapters.get(modality)
    if old is None or modality in hard.heads:
        raise InputError(
            f"calibration {hard.calibration!r} has {'no adapters' if old is None else 'a head'} for {modality}; "
            "expected adapters alone, to bring into another shape"
        )
    before = old.shape
    lost = [kind for kind in before.kinds if kind not in shape.kinds]
    made = Adapters(hard.backbone, modality, shape)
    if shape.purifier and before.purifier not in (0, shape.purifier):
        nets = [purifier.net for purifier in made.parts["purifier"].children()]
        if shape.purifier > before.purifier or not all(isinstance(net, Planes) for net in nets):
            lost.append(f"purifier of {before.purifier} channels")
    if before.core and not shape.core:
        lost.append("cores")
    elif _narrower(made, old):
        lost.append("rank")
    if lost:
        raise InputError(
            f"calibration {hard.calibration!r} would lose its {' and '.join(lost)} for {modality} in "
            "that shape; expected one that has all it trained, or cores"
        )
    made.take(old)
    return _with(hard, made)


def _with(hard: Calibrated, made: Adapters) -> Calibrated:
    """What was calibrated for one modality, with these adapters in the place of its own, and its records."""
    records = [record for record in hard.records if record.modality == made.modality]
    return Calibrated(hard.backbone, {}, hard.calibration, None, records, {made.modality: made})


def _narrower(made: Adapters, old: Adapters) -> bool:
    """Whether a layer's update is gone, or of two factors and of a lower rank than it had."""
    mine = dict(made.parts["low_rank"].named_children())

    def loses(name: str, its: nn.Module) -> bool:
        part = mine.get(name)
        if isinstance(part, LowRank) and isinstance(its, LowRank):
            return part.up.numel() < its.up.numel()
        return part is None

    return any(loses(name, its) for name, its in old.parts["low_rank"].named_children())


def _matrix(update: LowRank) -> Float[Tensor, "o i"]:
    return update().reshape(len(update.up), -1).double()


def _ranks(updates: dict[str, LowRank], scales: dict[str, Scale], parameters: int) -> dict[str, int]:
    """The rank of each layer: directions are taken by what they are worth until the parameters are spent. A layer's
    rank is never one at which the whole matrix would be smaller.
    """
    found = []
    for layer, update in updates.items():
        matrix, scale = _matrix(update), scales[layer]
        price = sum(matrix.shape)
        values = torch.linalg.svdvals(matrix * scale.inputs.double()).square() / max(scale.answers, 1e-12) ** 2
        most = (matrix.numel() - 1) // price
        found += [Direction(value / price, layer, number, price) for number, value in enumerate(values.tolist()[:most])]
    ranks, left = dict.fromkeys(updates, 0), parameters
    for direction in sorted(found, key=lambda one: (-one.worth, one.layer, one.number)):
        if direction.price <= left and ranks[direction.layer] == direction.number and direction.worth > 0:
            ranks[direction.layer] += 1
            left -= direction.price
    return ranks


@torch.no_grad()
def _fill(narrow: LowRank, wide: LowRank, scale: Scale) -> None:
    """The best update of that rank, in the change of the layer's answers; both halves share the singular values."""
    assert narrow.down is not None
    inputs = scale.inputs.double().clamp_min(1e-6 * float(scale.inputs.max().clamp_min(1e-12)))
    left, values, right = torch.linalg.svd(_matrix(wide) * inputs, full_matrices=False)
    rank = len(narrow.down)
    root = values[:rank].sqrt()
    narrow.up.copy_(left[:, :rank] * root)
    narrow.down.copy_(root[:, None] * right[:rank] / inputs)


@dataclass
class Seen:
    """Sums over the calls of a layer: of the mean square of what each column meets, and of its answers."""

    inputs: Tensor | float = 0.0
    answers: float = 0.0
    calls: int = 0

    def scale(self) -> Scale:
        return Scale((torch.as_tensor(self.inputs) / self.calls).sqrt(), math.sqrt(self.answers / self.calls))


def _scales(wide: Adapters, updates: dict[str, LowRank], task: Task, rows: Sequence[int]) -> dict[str, Scale]:
    """Of every adapted layer, over these samples."""
    seen = {name: Seen() for name in updates}
    with _watching(wide, updates, seen), frozen(task.encoder), torch.no_grad():
        for some in batches(list(rows), BATCH):
            task.embed(task.load(some))
    return {name: one.scale() for name, one in seen.items()}


@contextmanager
def _watching(wide: Adapters, updates: dict[str, LowRank], seen: dict[str, Seen]) -> Iterator[None]:
    """Fills `seen` at every call of an adapted layer."""
    names: dict[nn.Module, str] = {part: name for name, part in updates.items()}

    def watch(name: str, module: Adapted, inputs: tuple[Tensor, ...], answer: Tensor) -> None:
        one = seen[name]
        one.inputs = one.inputs + _columns(module.layer, inputs[0])
        one.answers += float(answer.double().square().mean())
        one.calls += 1

    hooks = [
        module.register_forward_hook(partial(watch, names[module.part]))
        for module in wide.networks.modules()
        if isinstance(module, Adapted) and module.part in names
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _columns(layer: nn.Module, x: Tensor) -> Float[Tensor, " i"]:
    """Mean square of what each column of the layer's weight meets; of a convolution its channel's."""
    square = x.double().square()
    if isinstance(layer, nn.Linear):
        return square.flatten(0, -2).mean(dim=0)
    weight = layer.get_parameter("weight")
    channels = square.transpose(0, 1).flatten(1).mean(dim=1).reshape(-1, weight.shape[1]).mean(dim=0)
    return channels.repeat_interleave(weight[0, 0].numel())
