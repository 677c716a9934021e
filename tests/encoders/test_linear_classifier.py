"""A linear classifier as an encoder answers as the classifier does."""

import pytest
import torch

import ironbind as ib
from ironbind.modalities.spaces import PIXELS
from ironbind.types import InputError, InputSpec
from toys import ToyData, prepare_image

torch.manual_seed(1)
FEATURES = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 12)).eval()
NAMES = tuple(f"class {number}" for number in range(7))


@pytest.mark.parametrize("bias", [True, False])
def test_predictions_are_those_of_the_classifier(bias):
    torch.manual_seed(0)
    layer = torch.nn.Linear(12, 7, bias=bias)
    if bias:
        layer.bias.data += torch.linspace(-1, 1, 7)  # a bias that decides some of them
    classifier = ib.linear_classifier(FEATURES, layer, NAMES)
    x = torch.randn(200, 3, 8, 8) * 3
    encoder = ib.from_callable(
        "linear", {"image": classifier.embed}, inputs={"image": InputSpec("image", (3, 8, 8), PIXELS, prepare_image)}
    )
    logits = layer(FEATURES(x))
    cosines = encoder.embed("image", x) @ classifier.centers.z.T
    assert torch.equal(cosines.argmax(dim=1), logits.argmax(dim=1))
    assert len(set(logits.argmax(dim=1).tolist())) > 1
    assert classifier.centers.z.norm(dim=1) == pytest.approx(torch.ones(7), abs=1e-6)
    assert classifier.centers.names == NAMES
    # the same positive factor for all classes of a sample
    rows = torch.cat([layer.weight, layer.bias[:, None] if bias else torch.zeros(7, 1)], dim=1)
    length = torch.cat([FEATURES(x), torch.ones(200, 1)], dim=1).norm(dim=1, keepdim=True)
    assert torch.allclose(cosines * length * rows.norm(dim=1).max(), logits, atol=1e-4)


def test_a_linear_classifier_can_be_audited():
    data = ToyData(8)
    layer = torch.nn.Linear(12, len(data.classes))
    size = prepare_image(data.decode("image", [0])[0]).shape
    body = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(size.numel(), 12)).eval()
    classifier = ib.linear_classifier(body, layer, data.classes)
    encoder = ib.from_callable(
        "linear", {"image": classifier.embed}, inputs={"image": InputSpec("image", tuple(size), PIXELS, prepare_image)}
    )
    task = ib.zero_shot(encoder, data, "image", centers=classifier.centers)
    result = ib.audit(task, ib.attacks.PGD(steps=2), ib.Linf("8/255"), checks=False)
    x, labels = task.load(range(8)), torch.tensor([data.labels[index] for index in range(8)])
    right = 100 * float((layer(body(x)).argmax(dim=1) == labels).float().mean())
    assert result.value(metric="top1", threat_model="clean") == pytest.approx(right)


def test_names_and_outputs_must_match():
    with pytest.raises(InputError, match="2 names for a layer of 7 outputs; expected one each"):
        ib.linear_classifier(FEATURES, torch.nn.Linear(12, 7), ("a", "b"))
