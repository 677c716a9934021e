"""The network of `lite`: EfficientNet-Lite on pictures, put into the space of a sentence encoder through class names.

EfficientNet-Lite (Tan and Le 2019, arXiv 1905.11946, without squeeze-and-excitation and with ReLU6): ours, from the
published file's names and shapes and the description in TensorFlow's repository (models/official/efficientnet/lite).
ConSE (Norouzi et al. 2014, arXiv 1312.5650): an embedding is the mean of the classes' sentence embeddings, weighted by
the classifier's probabilities.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from torch import Tensor, nn

from ironbind.numerics.batching import ROW_QUANTUM

SIDE = 224
CLASSES = 1000
NORM_EPSILON = 1e-3
MEAN, DEVIATION = 127.0, 128.0  # of pixels of 0 to 255


@dataclass(frozen=True)
class Stage:
    """A row of `repeats` inverted bottlenecks, the first with `stride` and from the width before to `width`."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    width: int


@dataclass(frozen=True)
class Architecture:
    """`stem`: channels behind the first convolution; `head`: of the features that the classifier reads."""

    stem: int
    stages: tuple[Stage, ...]
    head: int


LITE0 = Architecture(
    stem=32,
    stages=(
        Stage(1, 3, 1, 1, 16),
        Stage(2, 3, 2, 6, 24),
        Stage(2, 5, 2, 6, 40),
        Stage(3, 3, 2, 6, 80),
        Stage(3, 5, 1, 6, 112),
        Stage(4, 5, 2, 6, 192),
        Stage(1, 3, 1, 6, 320),
    ),
    head=1280,
)


def _convolution(inner: int, outer: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inner, outer, kernel, stride, groups=groups, bias=False)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=NORM_EPSILON)


def same_padded(x: Float[Tensor, "b c h w"], kernel: int, stride: int) -> Float[Tensor, "b c h2 w2"]:
    """`x` with zeros around it as TensorFlow's padding "SAME" adds them: where their number is odd, one more below and
    right.
    """
    gaps = [max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in (x.shape[3], x.shape[2])]
    return F.pad(x, [half for gap in gaps for half in (gap // 2, gap - gap // 2)])


class Bottleneck(nn.Module):
    """An inverted bottleneck: 1 x 1 to more channels, depthwise, 1 x 1 back; added to its input where both have one
    shape.
    """

    def __init__(self, inner: int, outer: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inner * expansion
        self.kernel, self.stride, self.adds = kernel, stride, stride == 1 and inner == outer
        self.expand = _convolution(inner, wide) if expansion > 1 else None
        self.expand_norm = _norm(wide) if expansion > 1 else None
        self.depthwise = _convolution(wide, wide, kernel, stride, groups=wide)
        self.depthwise_norm = _norm(wide)
        self.project = _convolution(wide, outer)
        self.project_norm = _norm(outer)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        y = x
        if self.expand is not None and self.expand_norm is not None:
            y = F.relu6(self.expand_norm(self.expand(y)))
        y = self.depthwise(same_padded(y, self.kernel, self.stride))
        y = F.relu6(self.depthwise_norm(y))
        y = self.project_norm(self.project(y))
        return x + y if self.adds else y


class EfficientNetLite(nn.Module):
    """Pictures in [0, 1] -> logits of the 1000 classes."""

    def __init__(self, architecture: Architecture = LITE0) -> None:
        super().__init__()
        self.stem = _convolution(3, architecture.stem, 3, 2)
        self.stem_norm = _norm(architecture.stem)
        self.blocks = nn.ModuleList(_blocks(architecture))
        self.head = _convolution(architecture.stages[-1].width, architecture.head)
        self.head_norm = _norm(architecture.head)
        self.classifier = nn.Linear(architecture.head, CLASSES)

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b k"]:
        y = ((255 * x - MEAN) / DEVIATION).contiguous(memory_format=torch.channels_last)  # a CPU convolves it faster
        y = F.relu6(self.stem_norm(self.stem(same_padded(y, 3, 2))))
        for block in self.blocks:
            y = block(y)
        y = F.relu6(self.head_norm(self.head(y)))
        return self.classifier(y.mean((2, 3)))


def _blocks(architecture: Architecture) -> Iterator[Bottleneck]:
    inner = architecture.stem
    for stage in architecture.stages:
        for number in range(stage.repeats):
            yield Bottleneck(inner, stage.width, stage.kernel, stage.stride if number == 0 else 1, stage.expansion)
            inner = stage.width


OFFICIAL_PARTS = {
    "stem": "_conv_stem", "stem_norm": "_bn0", "head": "_conv_head", "head_norm": "_bn1", "classifier": "_fc",
    "expand": "_expand_conv", "expand_norm": "_bn0", "depthwise": "_depthwise_conv", "depthwise_norm": "_bn1",
    "project": "_project_conv", "project_norm": "_bn2",
}  # fmt: skip


def official_name(name: str) -> str:
    """The published file's name of an entry of EfficientNetLite's state dict."""
    part, _, entry = name.rpartition(".")
    place = re.fullmatch(r"blocks\.(\d+)\.(\w+)", part)
    return f"_blocks.{place[1]}.{OFFICIAL_PARTS[place[2]]}.{entry}" if place else f"{OFFICIAL_PARTS[part]}.{entry}"


class BoundClassifier(nn.Module):
    """Pictures in [0, 1] -> the space of sentences: the mean of the classes' sentence embeddings `class_texts`,
    weighted by the probabilities of `pictures` (ConSE with all classes, temperature 1). `sentences`: the text network.

    The mean comes in another length, as the encoder normalises it: t_best + sum of exp(l_k - l_best) t_k over the other
    classes. So no probability is rounded to 1, and a confident picture keeps its gradient in float32 (ours).

    On a CPU the pictures go through the network ROW_QUANTUM at a time: the convolutions of larger batches round other
    rows differently, and are no faster.
    """

    def __init__(self, pictures: EfficientNetLite, sentences: Any, class_texts: Float[Tensor, "k d"]) -> None:
        super().__init__()
        self.pictures = pictures
        self.sentences = sentences
        self.class_texts: Tensor
        self.register_buffer("class_texts", class_texts, persistent=False)

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        logits = torch.cat([self.pictures(rows) for rows in x.split(ROW_QUANTUM if x.device.type == "cpu" else len(x))])
        best = logits.argmax(1, keepdim=True)
        others = torch.exp(logits - logits.gather(1, best)).scatter(1, best, 0.0)
        return self.class_texts[best[:, 0]] + others @ self.class_texts
