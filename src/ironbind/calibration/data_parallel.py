"""Training over ranks: each takes a slice of every batch, and all of them take the same step.

An objective may compare the samples of a batch with each other, so that it is no mean over slices. Every rank therefore
computes it over the embeddings of the whole batch, of which only its own rows carry a gradient: the sum of the ranks'
gradients is the gradient of the whole batch, whatever the objective and however many ranks there are. Ours; it is the
all-reduce of DistributedDataParallel, whose view of one module does not fit parts that are spread over an encoder.

Letters: b = batch, s = rows of this rank's slice, d = embedding width.
"""

import hashlib
from collections.abc import Iterable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ironbind.numerics.ranks import Ranks


def own_share(count: int, group: Ranks) -> slice:
    """The slice of `count` samples that falls to this rank; slices differ by at most one sample, and may be empty."""
    return slice(count * group.rank // group.size, count * (group.rank + 1) // group.size)


def whole_batch(own: Float[Tensor, "s d"], share: slice, count: int, group: Ranks) -> Float[Tensor, "b d"]:
    """The rows of all ranks in the batch's order; gradients reach this rank's own rows."""
    if group.size == 1:
        return own
    rows = torch.zeros((count, own.shape[1]), dtype=own.dtype, device=own.device)
    rows[share] = own.detach()
    group.sum(rows)  # all others are zeros there: exact
    return torch.cat([rows[: share.start], own, rows[share.stop :]])


def sum_gradients(parameters: Iterable[nn.Parameter], group: Ranks) -> None:
    """Gives every parameter the sum of its gradients over the ranks, in one message. One without a gradient on any rank
    gets zeros.
    """
    if group.size == 1:
        return
    held = list(parameters)
    gradients = [torch.zeros_like(one) if one.grad is None else one.grad for one in held]
    flat = group.sum(torch.cat([gradient.flatten() for gradient in gradients]))
    for parameter, summed in zip(held, flat.split([one.numel() for one in held]), strict=True):
        parameter.grad = summed.reshape(parameter.shape).clone()


def hash_of(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of the tensors' bytes, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(tensors[name].detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


@torch.no_grad()
def take_from_first(tensors: Mapping[str, Tensor], group: Ranks) -> bool:
    """Gives `tensors` the values that they have on the first rank, in place, unless all ranks hold the same already;
    returns whether any did not.
    """
    if group.size == 1 or len(set(group.gather(hash_of(tensors)))) == 1:
        return False
    values = group.from_first(lambda: {name: tensor.detach().cpu() for name, tensor in tensors.items()})
    for name, tensor in tensors.items():
        tensor.copy_(values[name])
    return True
