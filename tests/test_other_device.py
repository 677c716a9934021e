"""On another device than the CPU everything is computed there, and ends as on the CPU. The device is pretended
(`pretended.py`).
"""

from dataclasses import fields, replace

import pytest
import torch
from torch import nn
from torch.nn.functional import normalize
from torch.utils._pytree import tree_flatten

import pretended
from ironbind.attacks import APGD, ATTACKS, FMN, PGD, CarliniWagner, Square
from ironbind.calibration.calibrate import calibrate
from ironbind.core.results import Result
from ironbind.data import load_dataset
from ironbind.encoders import load_encoder
from ironbind.encoders.from_callable import from_callable
from ironbind.encoders.languagebind.encoder import assemble
from ironbind.evaluate.tasks.zero_shot import zero_shot
from ironbind.goals.misclassify import Misclassify
from ironbind.modalities.spaces import PIXELS
from ironbind.numerics.networks import device_of
from ironbind.numerics.norms import (
    GEOMETRIES,
    BrokenPostCondition,
    distance,
    enforce,
    into_bounds,
    project,
    radius_for,
    random_start,
    steepest_step,
    unit,
)
from ironbind.recipes import CALIBRATIONS
from ironbind.recipes.calibrations import hardened
from ironbind.recipes.request import SIX
from ironbind.runs.data_spec import DataSpec
from ironbind.runs.encoder_spec import EncoderSpec
from ironbind.runs.extra_tasks import ExtraTask
from ironbind.runs.job import Job, TrainingSpec
from ironbind.runs.run_jobs import run_jobs
from ironbind.types import (
    L1,
    L2,
    NORMS,
    SNR,
    AdapterShape,
    Budget,
    ClassCenters,
    EventShare,
    InputError,
    InputSpec,
    Linf,
    PointwiseL2,
    Space,
)
from pretended import Elsewhere, pretended_cuda, pretended_mps
from small_towers import LEVELS, SIZES, VARIANTS
from toys import audit, rng

BUDGET = Linf("4/255")


def test_the_pretended_device_refuses_what_cuda_refuses(monkeypatch):
    with pretended_cuda(monkeypatch) as device:
        x = torch.arange(6.0, device=device).reshape(2, 3)
        assert str(x.device) == device
        assert x.sum().item() == 15
        y = torch.ones(3)
        with pytest.raises(RuntimeError, match="same device"):
            x + y
        assert (x + y.to(device)).cpu().tolist() == [[1, 2, 3], [4, 5, 6]]
        assert x[[1]].tolist() == x[torch.tensor([1])].tolist() == [[3, 4, 5]]
        with pytest.raises(RuntimeError, match="same device"):
            y[torch.tensor([1], device=device)]
        layer = nn.Linear(3, 2).to(device)
        layer(x).sum().backward()
        assert str(layer.weight.grad.device) == device
        assert torch.tensor([1, 2], device=device).device == x.device
        with pytest.raises((RuntimeError, TypeError)):
            x.numpy()


def test_the_pretended_mps_refuses_float64(monkeypatch):
    with pretended_mps(monkeypatch) as device:
        x = torch.arange(6.0, device=device)
        assert str(x.device) == device
        assert (2 * x).cpu().tolist() == [0, 2, 4, 6, 8, 10]
        for widened in (x.double, lambda: x.long().double(), lambda: torch.linalg.vector_norm(x, dtype=torch.float64)):
            with pytest.raises(TypeError, match="float64"):
                widened()
        with pytest.raises(TypeError, match="float64"):
            x.cpu().double().to(device)
    assert x.cpu().double().dtype == torch.float64


def numbers(result: Result) -> dict[tuple[str, ...], float]:
    """What was found, by what was asked; float32 rounds elsewhere in another order."""
    return {
        (one.task, one.metric, one.calibration, one.threat_model, one.eps, one.attack): round(one.value, 3)
        for one in result.rows
    }


def checked(result: Result) -> list[tuple[str, str, str]]:
    return [(one.code, one.scope, one.status) for one in result.checks]


@pytest.mark.parametrize("modality", SIX)
def test_an_audit(modality, monkeypatch):
    data = load_dataset("world", split="test", n=5)

    def found(encoder):
        return numbers(audit(zero_shot(encoder, data, modality), PGD(steps=2), BUDGET, checks=False))

    here = found(load_encoder("tiny"))
    with pretended_cuda(monkeypatch) as device:
        assert found(load_encoder("tiny", device=device)) == here
    assert len(here) > 4


@pytest.mark.parametrize("norm", NORMS)
def test_every_norm_where_there_is_no_float64(norm, monkeypatch):
    """Distances, projections, starts, steps and post-conditions are those of the CPU, bit for bit."""
    space = Space("box", "anything", 0.0, 1.0, element_axes=(-1,))
    draw = torch.Generator().manual_seed(0)
    x, gradient = torch.rand(6, 3, 7, generator=draw), torch.randn(6, 3, 7, generator=draw)
    y, gain, budget = x + torch.randn(6, 3, 7, generator=draw), torch.rand(6, generator=draw), Budget(norm, 0.2, "0.2")
    radii = torch.rand(6, generator=draw)

    def answers(place):
        x_there, y_there, gradient_there, radii_there = (tensor.to(place) for tensor in (x, y, gradient, radii))
        inside = project(y_there, x_there, space, budget)
        enforce(inside, x_there, space, budget)
        with pytest.raises(BrokenPostCondition):
            enforce(into_bounds(y_there, space), x_there, space, replace(budget, radius=0.01))
        return [
            inside, distance(y_there, x_there, space, norm), random_start(x_there, space, budget, rng(6), "start"),
            steepest_step(gradient_there, x_there, space, budget, y_there), unit(gradient_there),
            radius_for(gain.to(place), gradient_there, inside, x_there, space, norm),
            GEOMETRIES[norm].project(y_there, x_there, space, radii_there),
        ]  # fmt: skip

    here = answers("cpu")
    with pretended_mps(monkeypatch) as device:
        there = answers(device)
        assert {str(tensor.device) for tensor in there} == {device}
        assert all(far.cpu().equal(near) for far, near in zip(there, here, strict=True))


@pytest.mark.parametrize(("modality", "attack", "budget"), [
    ("image", PGD(steps=2), L2("0.5")), ("point", APGD(steps=2), PointwiseL2("0.02")),
    ("event", PGD(steps=2), EventShare("0.05")), ("audio", PGD(steps=2), SNR(30)), ("thermal", FMN(steps=3), L1("2")),
    ("image", Square(queries=8), Linf("4/255")), ("image", CarliniWagner(steps=3, searches=1), L2("0.5")),
])  # fmt: skip
def test_an_audit_where_there_is_no_float64(modality, attack, budget, monkeypatch):
    """With its checks, on a device that refuses float64."""
    data = load_dataset("world", split="test", n=4)
    space = "waveform" if modality == "audio" else None

    def found(encoder):
        result = audit(zero_shot(encoder, data, modality, space=space), attack, budget)
        return numbers(result), checked(result)

    here = found(load_encoder("tiny"))
    with pretended_mps(monkeypatch) as device:
        assert found(load_encoder("tiny", device=device)) == here


def test_a_calibration_goes_there_and_comes_back(monkeypatch, tmp_path):
    data = load_dataset("world", split="test", n=4)
    x = zero_shot(load_encoder("tiny"), data, "audio", space="waveform").load(range(4))
    made = hardened(steps=2, shape=AdapterShape(4))
    (stage,) = made.stages
    short_training = replace(stage.adversarial_training, validation=4, validation_attack=PGD(2))
    made = replace(
        made,
        stages=(replace(stage, batch_size=4, adversarial_training=short_training),),
    )

    def trained(encoder):
        return calibrate(
            zero_shot(encoder, data, "audio"), made, samples=12, cache=tmp_path, workers=1
        )  # decoded on the CPU, brought there

    here = trained(load_encoder("tiny")).embed("audio", x)
    for one in tmp_path.iterdir():
        one.unlink()
    with pretended_cuda(monkeypatch) as device:
        hard = trained(load_encoder("tiny", device=device))
        there = hard.embed("audio", x.to(device))
        assert str(there.device) == str(device_of(hard)) == device
        back = hard.to("cpu")
    assert torch.allclose(back.embed("audio", x), here, atol=1e-5)
    assert device_of(back).type == "cpu"


PORTS = {
    "imagebind": lambda: load_encoder("imagebind-huge", weights="random", modalities=("image", "audio"), sizes=SIZES),
    "unibind": lambda: load_encoder(
        "unibind", weights="random", modalities=("point", "event"), sizes=SIZES, levels=LEVELS
    ),
    "languagebind": lambda: assemble("small", {"image": "random"}, ("image",), variants=VARIANTS),
}


@pytest.mark.parametrize("name", PORTS)
def test_ports(name, monkeypatch):
    encoder = PORTS[name]()
    assert device_of(encoder).type == "cpu"
    inputs = {
        modality: torch.rand(2, *spec.shape, generator=torch.Generator().manual_seed(0))
        for modality, spec in encoder.inputs.items()
    }
    here = {modality: encoder.embed(modality, x) for modality, x in inputs.items()}
    with pretended_cuda(monkeypatch) as device:
        assert str(device_of(encoder.to(device))) == device
        for modality, x in inputs.items():
            at = x.to(device).requires_grad_()
            z = encoder.embed(modality, at)
            z[:, 0].sum().backward()
            assert torch.allclose(z.detach().cpu(), here[modality], atol=1e-4)
            assert at.grad.cpu().abs().max() > 0


def test_functions_are_tried_where_their_network_lies(monkeypatch):
    network = nn.Sequential(nn.Flatten(), nn.Linear(48, 8))
    spec = InputSpec("image", (3, 4, 4), PIXELS, None)
    with pretended_cuda(monkeypatch) as device:
        network.to(device)
        encoder = from_callable("mine", {"image": lambda x: normalize(network(x))}, inputs={"image": spec})
        assert str(device_of(encoder)) == device
        assert device_of(encoder.to("cpu")).type == device_of(network).type == "cpu"


@pytest.mark.parametrize("device", ["cuda:99", "mps:7", "nowhere"])
def test_a_device_that_is_not_there_is_one_short_line(device):
    """PyTorch lists every backend that it was built with."""
    with pytest.raises(
        InputError, match=f"^--device {device}: .*; expected cpu, or a GPU .* as cuda:0 or mps$"
    ) as caught:
        EncoderSpec(device=device).load()
    assert len(str(caught.value)) < 500


def short(name: str):
    """The attack, with few steps, restarts and queries."""
    made = ATTACKS[name]()
    few = {"steps": 2, "restarts": 1, "queries": 8, "rounds": 2}
    return replace(made, **{one.name: few[one.name] for one in fields(made) if one.name in few})


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in ATTACKS if name != "bindattack"])
def test_every_attack_where_there_is_no_float64(name, monkeypatch):
    data, attack = load_dataset("world", split="test", n=4), short(name)
    budget = BUDGET if "linf" in getattr(attack, "norms", ("linf",)) else L2("0.5")

    def found(encoder):
        return numbers(audit(zero_shot(encoder, data, "image"), attack, budget, checks=False))

    here = found(load_encoder("tiny"))
    with pretended_mps(monkeypatch) as device:
        assert found(load_encoder("tiny", device=device)) == here


@pytest.mark.slow
@pytest.mark.parametrize("modality", SIX)
def test_a_whole_job(modality, monkeypatch, tmp_path):
    """Checks, all attacks, heads and adapters trained there, shipped ones, corruptions, other questions, gallery."""
    space = load_encoder("tiny").inputs[modality].space_named(None).name
    attacks = tuple(
        short(name)
        for name in ATTACKS
        if name != "bindattack" and "linf" in getattr(ATTACKS[name](), "norms", ("linf",))
    )

    def found(device, out):
        trained = tuple(CALIBRATIONS[name]() for name in ("l2", "hardened"))
        job = Job(
            modality,
            EncoderSpec(device=device, heads="shipped"),
            DataSpec(options={"split": "test", "n": 4, "seed": 0}),
            attacks=attacks,
            budgets={space: (BUDGET,)},
            training=TrainingSpec(trained, samples=8, steps=2),
            corrupted=True,
            extra_tasks=(ExtraTask("retrieval"), ExtraTask("illusion"), ExtraTask("hub")),
        )
        return Result.read(run_jobs([job], out).parent)

    here = found("cpu", tmp_path / "here")
    with pretended_cuda(monkeypatch) as device:
        there = found(device, tmp_path / "there")
    assert numbers(there) == numbers(here)
    assert checked(there) == checked(here)


WAITS = {"_local_scalar_dense", "is_nonzero", "nonzero", "masked_select", "item"}


@pytest.fixture
def waits(monkeypatch):
    """Names of what the pretended device was waited for, as they come."""
    seen = []
    run, told = pretended._run, pretended.Elsewhere.tolist

    def watched(func, args, kwargs):
        tensors = [one for one in tree_flatten((args, kwargs))[0] if isinstance(one, Elsewhere)]
        name = func.overloadpacket.__name__
        index = tree_flatten(args[1:])[0] if name.startswith(("index", "_index_put")) else ()
        masked = any(isinstance(one, torch.Tensor) and one.dtype == torch.bool for one in index[: 1 if index else 0])
        if tensors and (name in WAITS or masked):
            seen.append(name)
        return run(func, args, kwargs)

    monkeypatch.setattr(pretended, "_run", watched)
    monkeypatch.setattr(Elsewhere, "tolist", lambda tensor: (seen.append("tolist"), told(tensor))[1])
    return seen


@pytest.mark.parametrize("attack", [PGD, APGD], ids=lambda attack: attack.__name__)
@pytest.mark.parametrize("budget", [Linf("0.00001"), L2("0.0001")], ids=lambda budget: budget.norm)
def test_a_step_waits_for_the_device_once(attack, budget, monkeypatch, waits):
    """What a step decides on the host is one answer; the rest is queued, so that a GPU is never left without work."""

    def count(steps):
        waits.clear()
        attack(steps=steps)(embed, x, goal, PIXELS, budget, keys)
        return len(waits)

    with pretended_cuda(monkeypatch) as device:
        draw = torch.Generator().manual_seed(0)
        weight = torch.randn(8, 48, generator=draw).to(device)
        x = torch.rand(5, 3, 4, 4, generator=draw).to(device)
        z = normalize(torch.randn(4, 8, generator=draw), dim=1).to(device)
        centers = ClassCenters(z, torch.arange(4).to(device), tuple("abcd"))

        def embed(at):
            return normalize(at.flatten(1) @ weight.T, dim=1)

        goal = Misclassify(centers, embed(x).matmul(centers.z.T).argmax(dim=1))  # nobody falls within that radius
        keys = rng(5)
        count(1)  # reads the labels of the centers once
        assert count(9) - count(4) == 5, waits
        waits.clear()
        assert bool((x[:1] > 2).any()) is False
        assert len(waits) == 1  # what is counted is counted
