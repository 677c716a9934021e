"""Trained parts without training, and the comparison of two encoders."""

import torch

from ironbind.calibration import HEADS
from ironbind.calibration.adapters import Adapters
from ironbind.calibration.calibrated import Calibrated
from ironbind.deployment.verification import probes
from ironbind.types import AdapterShape

FOLDABLE = AdapterShape(2, True, 0)


def trained(encoder, modality, shape=FOLDABLE, head=None):
    """Every trained tensor moved a little from where it was born."""
    generator = torch.Generator().manual_seed(0)
    adapters = Adapters(encoder, modality, shape)
    heads = {modality: HEADS[head](encoder.dim)} if head else {}
    for module in (adapters.parts, *heads.values()):
        for value in module.parameters():
            value.data += 0.05 * torch.randn(value.shape, generator=generator)
    return Calibrated(encoder, heads, "toy", head, adapters={modality: adapters})


def embedded(encoder, modality, x):
    with torch.no_grad():
        return encoder.embed(modality, x)


def same(encoder, live, modality):
    spec = live.inputs[modality]
    x = probes(spec, spec.space.name, 4)
    return torch.testing.assert_close(embedded(encoder, modality, x), embedded(live, modality, x), atol=1e-6, rtol=0)
