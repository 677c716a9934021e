"""The peers: whether they are here, in which version, and how their users call them.

Every function takes (model, x, label) and knobs and returns examples. Nothing is imported before it is asked for.
"""

import importlib
import logging
import sys
from collections.abc import Callable, Sequence
from functools import cache
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from against.contest import OURS, Found, NotAvailable
from against.meter import Classifier

LAZY = (
    "torch._dynamo"  # torch imports it at the first step of an optimiser, which nobody's attack should be charged for
)
MODULES = {
    "pyautoattack": ("pyautoattack", "pyautoattack.autopgd_base", "pyautoattack.square"),
    "foolbox": ("foolbox", "foolbox.attacks", LAZY),
    "adv-lib": ("adv_lib.attacks", LAZY),
    "torchattacks": ("torchattacks",),
    "secml-torch": ("secmlt.adv.evasion.pgd", "secmlt.adv.evasion.fmn", "secmlt.models.pytorch.base_pytorch_nn", LAZY),
    "adversarial-robustness-toolbox": ("art.attacks.evasion", "art.estimators.classification"),
}
STANDARD = ("apgd-ce", "apgd-t", "fab-t", "square")  # AutoAttack standard, in its order
SHORT = {"adversarial-robustness-toolbox": "ART", "secml-torch": "SecML-Torch", "foolbox": "Foolbox"}
# What adv-lib imports for perceptual distances and progress plots, and no attack called here uses: torchvision's wheel
# does not import beside a CPU build of torch, visdom's source does not build with a present setuptools.
UNUSED = {"torchvision": ("models",), "visdom": ()}


def short(library: str) -> str:
    return SHORT.get(library, library)


@cache
def ready(library: str) -> str:
    """Imports a library; returns its version. Raises NotAvailable."""
    try:
        found = version(library)
    except PackageNotFoundError:
        raise NotAvailable(f"{library} is not installed") from None
    if library in ("adv-lib", "secml-torch"):
        for name, attributes in UNUSED.items():
            _stand_in(name, attributes)
    if library == "pyautoattack":
        logging.getLogger("auto-attack").addHandler(logging.StreamHandler(sys.stderr))
        logging.getLogger("auto-attack").setLevel(logging.DEBUG)
    try:
        for module in () if library == OURS else MODULES[library]:
            importlib.import_module(module)
    except Exception as error:  # noqa: BLE001
        raise NotAvailable(f"{library} cannot be imported: {type(error).__name__}: {first_line(error)}") from error
    return found


def first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:120]


def _stand_in(name: str, attributes: tuple[str, ...]) -> None:
    """An empty module in place of one that cannot be imported."""
    try:
        importlib.import_module(name)
    except Exception:  # noqa: BLE001 - torchvision fails with a RuntimeError
        module = ModuleType(name)
        module.__spec__ = ModuleSpec(name, None)
        for one in attributes:
            setattr(module, one, None)
        sys.modules[name] = module


# --------------------------------------------------------------------------------------------------- pyautoattack


def pyautoattack_apgd(model: nn.Module, x: Tensor, y: Tensor, eps: float, steps: int, seed: int = 0) -> Tensor:
    from pyautoattack.autopgd_base import APGDAttack

    return APGDAttack(
        model, n_iter=steps, norm="Linf", n_restarts=1, eps=eps, seed=seed, loss="ce", device="cpu"
    ).perturb(x, y)


def pyautoattack_apgd_targeted(
    model: nn.Module, x: Tensor, y: Tensor, eps: float, steps: int, targets: int, seed: int = 0
) -> Tensor:
    from pyautoattack.autopgd_base import APGDAttack_targeted

    attack = APGDAttack_targeted(
        model, n_iter=steps, norm="Linf", n_restarts=1, eps=eps, seed=seed, n_target_classes=targets, device="cpu"
    )
    return attack.perturb(x, y)


def pyautoattack_square(model: nn.Module, x: Tensor, y: Tensor, eps: float, queries: int, seed: int = 0) -> Tensor:
    """With the schedule of AutoAttack standard."""
    from pyautoattack.square import SquareAttack

    attack = SquareAttack(
        model,
        norm="Linf",
        n_queries=queries,
        eps=eps,
        p_init=0.8,
        n_restarts=1,
        seed=seed,
        resc_schedule=False,
        device="cpu",
    )
    return attack.perturb(x, y)


def autoattack_standard(
    model: Classifier, x: Tensor, y: Tensor, eps: float, batch: int, seed: int = 0, attacks: Sequence[str] = STANDARD
) -> Found:
    """AutoAttack standard as it comes, or some of its `attacks`; each is wrapped to be charged on its own, and to tell
    which of them felled a sample.
    """
    from pyautoattack import AutoAttack

    whole = AutoAttack(model, norm="Linf", eps=eps, seed=seed, version="standard", device="cpu")
    whole.attacks_to_run = list(attacks)
    returned: dict[bytes, str] = {}  # example -> the first stage that returned it

    def staged(perturb: Callable[..., Tensor], stage: str) -> Callable[..., Tensor]:
        def call(*args: Any, **more: Any) -> Tensor:
            with model.during(stage):
                examples = perturb(*args, **more)
            for one in examples.detach():
                returned.setdefault(one.numpy().tobytes(), stage)
            return examples

        return call

    stages = {"APGD-CE": whole.apgd, "APGD-T": whole.apgd_targeted, "FAB-T": whole.fab, "Square": whole.square}
    for stage, part in stages.items():
        part.perturb = staged(part.perturb, stage)
    with model.during("checks and verdicts"):
        examples = whole.run_standard_evaluation(x, y, batch_size=batch)[0]
    moved = (examples != x).flatten(1).any(dim=1).tolist()  # a sample that stands comes back as it was
    return Found(
        examples, [returned[one.numpy().tobytes()] if away else "" for one, away in zip(examples, moved, strict=True)]
    )


# --------------------------------------------------------------------------------------------------------- others


def torchattacks(name: str, model: nn.Module, x: Tensor, y: Tensor, **knobs: Any) -> Tensor:
    import torchattacks

    return getattr(torchattacks, name)(model, **knobs)(x, y)


def advlib(name: str, model: nn.Module, x: Tensor, y: Tensor, **knobs: Any) -> Tensor:
    from adv_lib import attacks

    return getattr(attacks, name)(model, x, y, **knobs)


def foolbox(
    name: str,
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    eps: float | None = None,
    bounds: tuple[float, float] = (0, 1),
    **knobs: Any,
) -> Tensor:
    """Minimum-norm attacks without `eps`."""
    import foolbox

    wrapped = foolbox.PyTorchModel(model, bounds=bounds, device="cpu")
    return getattr(foolbox.attacks, name)(**knobs)(wrapped, x, y, epsilons=eps)[1]


def secml_pgd(
    model: nn.Module, x: Tensor, y: Tensor, eps: float, steps: int, size: float, bounds: tuple[float, float] = (0, 1)
) -> Tensor:
    from secmlt.adv.backends import Backends
    from secmlt.adv.evasion.pgd import PGD

    knobs = {"perturbation_model": "linf", "epsilon": eps, "num_steps": steps, "step_size": size, "random_start": False}
    return _secml(PGD(**knobs, lb=bounds[0], ub=bounds[1], backend=Backends.NATIVE), model, x, y)


def secml_fmn(model: nn.Module, x: Tensor, y: Tensor, norm: str, steps: int, size: float) -> Tensor:
    from secmlt.adv.backends import Backends
    from secmlt.adv.evasion.fmn import FMN

    return _secml(
        FMN(perturbation_model=norm, num_steps=steps, step_size=size, lb=0.0, ub=1.0, backend=Backends.NATIVE),
        model,
        x,
        y,
    )


def _secml(attack: Any, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    from secmlt.models.pytorch.base_pytorch_nn import BasePyTorchClassifier
    from torch.utils.data import DataLoader, TensorDataset

    batches = attack(BasePyTorchClassifier(model), DataLoader(TensorDataset(x, y), batch_size=len(x)))
    return torch.cat([found for found, _ in batches])


def art(
    name: str, model: Classifier, x: Tensor, y: Tensor, bounds: tuple[float, float] = (0, 1), **knobs: Any
) -> Tensor:
    from art.attacks import evasion
    from art.estimators.classification import PyTorchClassifier

    classes, shape = len(model.centers), tuple(x.shape[1:])
    wrapped = PyTorchClassifier(
        model, nn.CrossEntropyLoss(), input_shape=shape, nb_classes=classes, clip_values=bounds, device_type="cpu"
    )
    attack = getattr(evasion, name)(wrapped, batch_size=len(x), verbose=False, **knobs)
    return torch.from_numpy(np.asarray(attack.generate(x.numpy(), np.eye(classes, dtype=np.float32)[y.numpy()])))
