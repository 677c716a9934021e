"""A linear classifier as an encoder: its classes are the nearest of class centers."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ironbind.types import ClassCenters, InputError

Features = Callable[[Float[Tensor, "b ..."]], Float[Tensor, "b d"]]


class LinearClassifier(NamedTuple):
    """What `from_callable` and `zero_shot` take: `embed`, a function from inputs to embeddings, and `centers`."""

    embed: Callable[[Float[Tensor, "b ..."]], Float[Tensor, "b d+2"]]
    centers: ClassCenters


def linear_classifier(features: Features, layer: nn.Linear, names: Sequence[str]) -> LinearClassifier:
    """The classifier `layer(features(x))` as an embedding and class centers with the same prediction for every input.

    The embedding is [f, 1, 0], the center of a class with weights w and bias b is [w, b, sqrt(M^2 - |w|^2 - b^2)] / M
    with M^2 the largest |w|^2 + b^2: a unit row whose cosine to the embedding is the class's logit over M |[f, 1]|, the
    same positive number for all classes of a sample (ours; the extra coordinate is that of Neyshabur and Srebro 2015).
    A margin between cosines is thus the margin between logits over that number. `layer` needs no bias. `names`: one
    class per output. Raises InputError for another number of names.
    """
    weight = layer.weight.detach().double()
    if len(names) != len(weight):
        raise InputError(f"{len(names)} names for a layer of {len(weight)} outputs; expected one each")
    bias = torch.zeros_like(weight[:, 0]) if layer.bias is None else layer.bias.detach().double()
    rows = torch.cat([weight, bias[:, None]], dim=1)
    squares = rows.square().sum(dim=1)
    rest = (squares.max() - squares).clamp(min=0).sqrt()
    z = torch.cat([rows, rest[:, None]], dim=1) / squares.max().sqrt()
    label = torch.arange(len(names), device=weight.device)

    def embed(x: Float[Tensor, "b ..."]) -> Float[Tensor, "b d+2"]:
        f = features(x).flatten(1)
        one = torch.ones_like(f[:, :1])
        return torch.cat([f, one, torch.zeros_like(one)], dim=1)

    return LinearClassifier(embed, ClassCenters(z.float(), label, tuple(names)))
