"""What benchmarks/gpu.py measures: one function per section, each run in a process of its own: `gpu_sections.py SECTION
FILE [--small]` adds one JSON line to FILE for every finding, so that what was measured before a failure stays.

Weights are random and drawn on the device: they cost what official ones cost. Sizes are the official ones on a GPU;
`--small` takes narrow towers, few samples and the CPU.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from engine import bare_loop
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ironbind.attacks import PGD
from ironbind.attacks.mixed_precision import MixedPrecision
from ironbind.calibration.calibrate import calibrate
from ironbind.core.default_budgets import comparable
from ironbind.data import load_dataset
from ironbind.encoders import load_encoder
from ironbind.encoders.bfloat16 import in_bfloat16
from ironbind.encoders.imagebind.model import HUGE, TowerSize
from ironbind.encoders.languagebind import encoder as languagebind
from ironbind.encoders.shared import checkpoint
from ironbind.encoders.shared.trunk import Trunk
from ironbind.encoders.unibind.point_tower import LEVELS, LevelSize
from ironbind.evaluate.tasks.zero_shot import zero_shot
from ironbind.goals.misclassify import Misclassify
from ironbind.numerics.networks import frozen, modules_of
from ironbind.numerics.sample_random import PerSample
from ironbind.recipes.calibrations import hardened
from ironbind.types import ClassCenters, Embed, Encoder, Linf, Space

RADIUS = 1e-5  # so small that nobody falls: the work is that of any robust sample
CLASSES = 100
SLIM = {name: TowerSize(32, 2, 2, size.scale) for name, size in HUGE.items()}
SLIM_LEVELS = (LevelSize(64, 8, 24, 0.4, 1, 2), LevelSize(32, 6, 32, 0.8, 1, 2), LevelSize(8, 4, 48, 1.2, 1, 2))
SLIM_ARCHITECTURE = {"width": 32, "depth": 2, "heads": 2, "dim": 32, "text_width": 16, "text_depth": 1, "text_heads": 2}
PRECISIONS = ("float32", "TF32", "bfloat16")


@dataclass(frozen=True)
class Bench:
    """Where a section computes and where its findings go."""

    small: bool
    file: Path

    @property
    def device(self) -> str:
        return "cpu" if self.small else "cuda"

    @property
    def steps(self) -> int:
        """Of the attacks that are timed."""
        return 2 if self.small else 10

    def write(self, **line: Any) -> None:
        """One of head=[...], row=[...], note="..."."""
        with self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def clock(self) -> float:
        """Seconds on the wall when the GPU has done all that it was given; of the process's own CPU time with
        `small`, where other processes may share the cores.
        """
        if self.small:
            return time.process_time()
        torch.cuda.synchronize()
        return time.perf_counter()

    def try_row(self, name: Sequence[str], measure: Callable[[], Sequence[Any]], width: int) -> None:
        """The cells of `measure` behind those of `name`; where it fails, what it failed with, and the section goes
        on.
        """
        try:
            cells = list(measure())
        except Exception as error:  # noqa: BLE001 - one encoder that fails must not hide the others
            said = (str(error).strip().splitlines() or [""])[0]
            cells = [f"failed: {type(error).__name__}: {said[:160]}"] + ["-"] * (width - len(name) - 1)
        self.write(row=[*name, *cells])
        if not self.small:
            torch.cuda.empty_cache()


# -------------------------------------------------------------------------------------------------------- the encoders


@contextmanager
def weights_drawn_on(device: str) -> Iterator[None]:
    """Random weights of the ports are drawn on the device: a billion of them take seconds there and minutes on a CPU.
    They are other numbers than the rule's own where the device is not the CPU.
    """

    def drawn(official: str, shape: tuple[int, ...]) -> Tensor:
        generator = torch.Generator(device).manual_seed(zlib.crc32(official.encode()))
        noise = torch.randn(shape, generator=generator, device=device) * 0.02
        return noise + 1 if len(shape) == 1 and official.endswith(("weight", "running_var")) else noise

    before = checkpoint.rule_tensor
    checkpoint.rule_tensor = languagebind.rule_tensor = drawn
    try:
        yield
    finally:
        checkpoint.rule_tensor = languagebind.rule_tensor = before


def imagebind(bench: Bench, *modalities: str, **options: Any) -> Encoder:
    sizes = SLIM if bench.small else HUGE
    return load_encoder(
        "imagebind-huge", weights="random", modalities=modalities, device=bench.device, sizes=sizes, **options
    )


def unibind(bench: Bench, *modalities: str, **options: Any) -> Encoder:
    sizes, levels = (SLIM, SLIM_LEVELS) if bench.small else (HUGE, LEVELS)
    return load_encoder(
        "unibind", weights="random", modalities=modalities, device=bench.device, sizes=sizes, levels=levels, **options
    )


def of_languagebind(bench: Bench, variant: str, **options: Any) -> Encoder:
    chosen = languagebind.VARIANTS[variant]
    if bench.small:
        chosen = chosen._replace(arch=replace(chosen.arch, **SLIM_ARCHITECTURE))
    return languagebind.assemble(
        variant, {variant: "random"}, (chosen.modality,), device=bench.device, variants={variant: chosen}, **options
    )


def clip(bench: Bench) -> Encoder:
    """A CLIP of the transformers library, ViT-B/32."""
    import transformers

    from ironbind.encoders.hf.encoder import from_model

    config = transformers.CLIPConfig()
    if bench.small:
        slim = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
        config = transformers.CLIPConfig(vision_config=slim, text_config=slim)
    torch.manual_seed(0)
    with torch.device(bench.device):
        model = transformers.CLIPModel(config)
    return from_model("CLIP ViT-B/32", model, image=transformers.CLIPImageProcessor(), modalities=("image",))


Ports = dict[str, Callable[[Bench], Encoder]]
PORTS: Ports = {
    "tiny": lambda bench: load_encoder("tiny", device=bench.device),
    "imagebind-huge": lambda bench: imagebind(bench, "image", "video", "audio", "depth", "thermal", "imu"),
    "unibind": lambda bench: unibind(bench, "point", "event"),
    "hf (CLIP ViT-B/32)": clip,
    **{
        f"languagebind-{modality}": partial(of_languagebind, variant=f"languagebind-{modality}")
        for modality in ("image", "audio-ft", "depth", "thermal", "video-ft")
    },
}


def inputs(encoder: Encoder, modality: str, space: str, batch: int, device: Any) -> Tensor:
    """Inputs within the bounds of the space, uniform; standard normal where it has none."""
    spec = encoder.inputs[modality]
    draw, shape = torch.Generator().manual_seed(0), (batch, *spec.shape_in(space))
    low, high = spec.spaces[space].low, spec.spaces[space].high
    if low is None or high is None:
        return torch.randn(shape, generator=draw).to(device)
    return (low + (high - low) * torch.rand(shape, generator=draw)).to(device)


@contextmanager
def tensor_float_32(on: bool) -> Iterator[None]:
    """Matrix products and convolutions of float32 tensors in TF32, or exactly."""
    flags: Any = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [one.allow_tf32 for one in flags]
    for one in flags:
        one.allow_tf32 = on
    try:
        yield
    finally:
        for one, was in zip(flags, before, strict=True):
            one.allow_tf32 = was


# --------------------------------------------------------------------------------------------------------------- card


def card(bench: Bench) -> None:
    """Which card, and what it reaches on one large matrix product: the peak that shares below are shares of."""
    bench.write(head=["precision", "matrix product", "TFLOP/s reached"])
    size, rounds = (512, 1) if bench.small else (8192, 20)
    for precision in PRECISIONS:
        bench.write(row=[precision, f"{size} x {size}", f"{peak(bench, precision, size, rounds):.3g}"])
    if bench.small:
        bench.write(note="No GPU: these are CPU seconds of one process on a machine that others may use.")
    else:
        about = torch.cuda.get_device_properties(0)
        bench.write(
            note=f"{about.name}, {about.total_memory / 2**30:.0f} GiB, CUDA {torch.version.cuda}, torch "
            f"{torch.__version__}. Without a word torch computes float32 convolutions in TF32 "
            f"(`torch.backends.cudnn.allow_tf32` = {torch.backends.cudnn.allow_tf32}) and matrix products exactly "
            f"(`torch.backends.cuda.matmul.allow_tf32` = {torch.backends.cuda.matmul.allow_tf32})."
        )


def peak(bench: Bench, precision: str, size: int, rounds: int) -> float:
    """TFLOP/s of the product of two square matrices."""
    kind = torch.bfloat16 if precision == "bfloat16" else torch.float32
    a = torch.randn(size, size, device=bench.device).to(kind)
    with tensor_float_32(precision == "TF32"):
        a @ a
        started = bench.clock()
        for _ in range(rounds):
            a @ a
        return 2 * size**3 * rounds / (bench.clock() - started) / 1e12


# --------------------------------------------------------------------------------------------------------- embeddings


def embeddings(bench: Bench) -> None:
    """Every port on the device in each precision against float32 on the CPU."""
    head = ["encoder", "input"]
    head += [f"{precision}: largest difference (least cosine)" for precision in PRECISIONS]
    bench.write(head=head)
    for name, build in PORTS.items():
        try:
            with weights_drawn_on(bench.device), torch.no_grad():
                found = _embedded(bench, build(bench))
        except Exception as error:  # noqa: BLE001
            found = [("-", [f"failed: {type(error).__name__}: {str(error).splitlines()[0][:160]}", "-", "-"])]
        for entrance, cells in found:
            bench.write(row=[name, entrance, *cells])
        if not bench.small:
            torch.cuda.empty_cache()


def _embedded(bench: Bench, encoder: Any) -> list[tuple[str, list[str]]]:
    entrances = [(modality, space) for modality, spec in encoder.inputs.items() for space in spec.spaces]
    there: dict[tuple[str, str], list[Tensor | None]] = {}
    copied = in_bfloat16(encoder) if _has_trunk(encoder) else None
    for modality, space in entrances:
        x = inputs(encoder, modality, space, 2, bench.device)
        z = []
        for precision in PRECISIONS:
            chosen = copied if precision == "bfloat16" else encoder
            with tensor_float_32(precision == "TF32"):
                z.append(None if chosen is None else chosen.embed(modality, x, space=space).float().cpu())
        there[modality, space] = z
    del copied
    encoder = encoder.to("cpu")
    found = []
    for modality, space in entrances:
        exact = encoder.embed(modality, inputs(encoder, modality, space, 2, "cpu"), space=space)
        found.append((f"{modality} {space}", [_difference(z, exact) for z in there[modality, space]]))
    return found


def _has_trunk(encoder: Encoder) -> bool:
    return any(isinstance(part, Trunk) for module in modules_of(encoder) for part in module.modules())


def _difference(z: Tensor | None, exact: Tensor) -> str:
    if z is None:
        return "no shared trunk"
    return f"{float((z - exact).abs().max()):.1e} ({float(F.cosine_similarity(z, exact).min()):.6f})"


# ----------------------------------------------------------------------------------------------------------- verdicts


def verdicts(bench: Bench) -> None:
    """The built-in encoder: the same attack on the CPU and on the device, sample by sample."""
    samples, modalities, radii = (24, ("image",), ("1/255", "4/255")) if bench.small else (
        500, ("image", "audio", "point"), ("1/255", "2/255", "4/255"),
    )  # fmt: skip
    head = ["tower", "radius", "robust on the CPU", "robust on the device", "same verdict", "TF32: same verdict"]
    head += ["bfloat16 steps, float32 verdicts: same verdict", "bfloat16 alone: same verdict"]
    bench.write(head=head)
    data, attack = load_dataset("world", n=samples), PGD(steps=5 if bench.small else 20)
    for modality in modalities:
        for radius in radii:
            bench.try_row([modality, radius], partial(_agreement, bench, data, attack, modality, radius), len(head))
    bench.write(note=f"{attack.name}, {samples} samples per row; each precision against float32 on the CPU.")


def _agreement(bench: Bench, data: Any, attack: PGD, modality: str, radius: str) -> list[str]:
    def robust(device: str, tf32: bool = False, steps_on_copy: bool = False, copy_alone: bool = False) -> Tensor:
        encoder = load_encoder("tiny", device=device)
        task = zero_shot(encoder, data, modality)
        rows = list(range(len(data)))
        fast = task.on(in_bfloat16(encoder)).embed if steps_on_copy or copy_alone else task.embed
        chosen = MixedPrecision(attack, fast) if steps_on_copy else attack
        with tensor_float_32(tf32):
            attacked = chosen(
                fast if copy_alone else task.embed, task.load(rows), task.goal(rows), task.space,
                comparable(Linf(radius), task.space), PerSample.of(0, data.ids),
            )  # fmt: skip
        return ~attacked.reached.cpu()

    here, there = robust("cpu"), robust(bench.device)
    others = [robust(bench.device, tf32=True), robust(bench.device, steps_on_copy=True)]
    others += [robust(bench.device, copy_alone=True)]
    same = [f"{int((one == here).sum())} of {len(here)}" for one in (there, *others)]
    return [str(int(here.sum())), str(int(there.sum())), *same]


# -------------------------------------------------------------------------------------------------------------- speed


@dataclass(frozen=True)
class Case:
    """One tower to attack: how it is built and entered."""

    name: str
    build: Callable[..., Encoder]
    modality: str
    checkpointing: bool = False


IMAGE = Case("imagebind-huge image", lambda bench, **o: imagebind(bench, "image", **o), "image")
CASES = (
    Case("imagebind-huge audio", lambda bench, **o: imagebind(bench, "audio", **o), "audio"),
    Case("unibind point", lambda bench, **o: unibind(bench, "point", **o), "point"),
    IMAGE,
    replace(IMAGE, checkpointing=True),
    Case("languagebind video", lambda bench, **o: of_languagebind(bench, "languagebind-video-ft", **o), "video"),
)


def speed(bench: Bench) -> None:
    """PGD-10 beside a bare loop, precision by precision; memory beside weights and what the graph holds."""
    head = ["tower", "precision", "checkpointing", "examples/s", "bare loop: examples/s", "engine / bare loop"]
    head += ["share of peak", "peak memory (GB)", "weights (GB)", "saved for backward (GB)", "host waits per step"]
    bench.write(head=head)
    size, rounds = (512, 1) if bench.small else (8192, 10)
    tried = [one for one in PRECISIONS if one != "TF32" or not bench.small]  # a CPU knows no TF32
    peaks = {precision: peak(bench, precision, size, rounds) for precision in tried}
    batch = 4 if bench.small else 32
    for case in CASES:
        for precision in tried[::-1]:  # the fast ones first: the budget of time may end the section
            name = [case.name, precision, "on" if case.checkpointing else "off"]
            bench.try_row(name, partial(_pgd, bench, case, precision, batch, peaks[precision]), len(head))
    bench.write(
        note=f"PGD-{bench.steps}, batch {batch}, robust samples; examples a second are whole attacks. Share of peak: "
        "the passes' floating-point operations over time and over the matrix product above. Host waits: what "
        "`torch.cuda.set_sync_debug_mode` warns of."
    )


def _pgd(bench: Bench, case: Case, precision: str, batch: int, tflops: float) -> list[str]:
    with weights_drawn_on(bench.device):
        encoder: Any = case.build(bench, checkpointing=case.checkpointing)
    if precision == "bfloat16":
        encoder = in_bfloat16(encoder)  # the original goes
    modality, space = case.modality, encoder.inputs[case.modality].space_named(None)
    x = inputs(encoder, modality, space.name, batch, bench.device)

    def embed(at: Tensor) -> Tensor:
        return encoder.embed(modality, at, space=space.name).float()

    weights = sum(one.numel() * one.element_size() for module in modules_of(encoder) for one in module.parameters())
    with frozen(encoder), tensor_float_32(precision == "TF32"):
        goal = _robust_goal(embed, x)
        saved, flops = _one_pass(embed, x, goal)
        engine_s, bare_s, ratio = _alternating(bench, embed, x, goal, space)
        top = _peak_memory(bench, embed, x, goal, space)
        waits = "-" if bench.small else f"{_waits(embed, x, goal, space):.1f}"
    share = bench.steps * flops / engine_s / tflops / 1e12
    return [
        f"{batch / engine_s:.3g}", f"{batch / bare_s:.3g}", f"{ratio:.3f}", f"{share:.2f}",
        top, f"{weights / 1e9:.3g}", f"{saved / 1e9:.3g}", waits,
    ]  # fmt: skip


def _robust_goal(embed: Embed, x: Tensor) -> Misclassify:
    """Class 0 is what the network says to everything, the others lie at random: nobody falls within RADIUS."""
    with torch.no_grad():
        z = embed(x)
    rows = torch.randn((CLASSES, z.shape[1]), generator=torch.Generator().manual_seed(1)).to(z)
    rows = F.normalize(rows, dim=1)
    rows[0] = F.normalize(z.mean(dim=0), dim=0)
    label = torch.arange(CLASSES, device=z.device)
    return Misclassify(ClassCenters(rows, label, tuple(map(str, range(CLASSES)))), torch.zeros_like(label[: len(x)]))


def _one_pass(embed: Embed, x: Tensor, goal: Misclassify) -> tuple[int, int]:
    """Bytes that the graph of one forward pass holds, weights aside, and the operations of forward and backward."""
    held: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, nn.Parameter) and tensor.layout == torch.strided:
            storage = tensor.untyped_storage()
            held[storage.data_ptr()] = storage.nbytes()
        return tensor

    leaf = x.clone().requires_grad_(True)
    at = leaf * 1  # the counter follows modules, and stumbles over a leaf that enters one
    with FlopCounterMode(display=False) as counter:
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            loss = goal.loss(embed(at)).sum()
        torch.autograd.grad(loss, leaf)
    return sum(held.values()), counter.get_total_flops()


def _attack(embed: Embed, x: Tensor, goal: Misclassify, space: Space, steps: int) -> Tensor:
    rng = PerSample.of(0, [str(i) for i in range(len(x))])
    return PGD(steps=steps)(embed, x, goal, space, Linf(RADIUS), rng).reached


def _alternating(bench: Bench, embed: Embed, x: Tensor, goal: Misclassify, space: Space) -> tuple[float, float, float]:
    """Median seconds of engine and bare loop in alternating rounds, and the median of bare over engine."""

    def engine() -> None:
        if _attack(embed, x, goal, space, bench.steps).any():
            raise AssertionError("samples fell; this comparison needs robust ones")

    def bare() -> None:
        bare_loop(embed, x, goal, space, RADIUS, bench.steps)

    _attack(embed, x, goal, space, 1)
    times: dict[str, list[float]] = {"engine": [], "bare": []}
    for number in range(1 if bench.small else 2):
        pair = [("engine", engine), ("bare", bare)]
        for who, work in pair if number % 2 else pair[::-1]:
            started = bench.clock()
            work()
            times[who].append(bench.clock() - started)
        if sum(map(sum, times.values())) > 15:
            break  # a slow precision: one round
    ratios = [bare_s / engine_s for engine_s, bare_s in zip(times["engine"], times["bare"], strict=True)]
    return statistics.median(times["engine"]), statistics.median(times["bare"]), statistics.median(ratios)


def _peak_memory(bench: Bench, embed: Embed, x: Tensor, goal: Misclassify, space: Space) -> str:
    if bench.small:
        return "-"
    torch.cuda.reset_peak_memory_stats()
    _attack(embed, x, goal, space, 2)
    return f"{torch.cuda.max_memory_allocated() / 1e9:.3g}"


def _waits(embed: Embed, x: Tensor, goal: Misclassify, space: Space) -> float:
    """How often the host waits for the device in one step of the engine."""

    def count(steps: int) -> int:
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                _attack(embed, x, goal, space, steps)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        return sum("synchroniz" in str(one.message) for one in caught)

    return (count(4) - count(2)) / 2


# -------------------------------------------------------------------------------------------------------- calibration


def calibration(bench: Bench) -> None:
    """Steps of a live calibration: attack, both passes and the update of adapters."""
    bench.write(head=["encoder", "batch", "seconds per step", "seconds decoding per step", "peak memory (GB)"])
    bench.try_row(["imagebind-huge image, adapters of rank 8", "25"], lambda: _calibration_steps(bench), 5)


def _calibration_steps(bench: Bench) -> list[str]:
    with weights_drawn_on(bench.device):
        encoder = imagebind(bench, "image")
    data = load_dataset("world", split="train", n=150)
    rows = torch.randn((len(data.classes), encoder.dim), generator=torch.Generator().manual_seed(1))
    centers = ClassCenters(F.normalize(rows, dim=1), torch.arange(len(rows)), data.classes)
    task = zero_shot(encoder, data, "image", centers=centers)
    recipe = hardened(steps=6)
    (stage,) = recipe.stages
    assert stage.adversarial_training is not None
    few = replace(stage.adversarial_training, validation=8, validation_attack=PGD(steps=2))
    recipe = replace(recipe, stages=(replace(stage, adversarial_training=few),))
    at: list[float] = []
    if not bench.small:
        torch.cuda.reset_peak_memory_stats()
    trained = calibrate(task, recipe, data, workers=0, progress=lambda what, done, total: at.append(bench.clock()))
    steps = [after - before for before, after in zip(at, at[1:], strict=False)]
    record = trained.records[0]
    top = "-" if bench.small else f"{torch.cuda.max_memory_allocated() / 1e9:.3g}"
    return [f"{statistics.median(steps):.3g}", f"{record.data_seconds / record.steps:.3g}", top]


# ------------------------------------------------------------------------------------------------------- two processes


def two_audits(bench: Bench) -> None:
    """The same audit alone, and twice at once in two processes on one device."""
    bench.write(head=["audits at once", "wall seconds, start of the processes included"])
    limit = "16" if bench.small else "500"
    with tempfile.TemporaryDirectory() as folder:
        for count in (1, 2):
            started = time.perf_counter()
            running = [
                subprocess.Popen(
                    [
                        sys.executable, "-m", "ironbind", "audit", "world", "--modality", "image", "--limit", limit,
                        "--attack", "pgd", "--eps", "4/255", "--device", bench.device,
                        "--out", f"{folder}/{count}-{number}",
                    ],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    encoding="utf-8",
                )
                for number in range(count)
            ]  # fmt: skip
            said = [one.communicate()[0] for one in running]
            wall = time.perf_counter() - started
            if any(one.returncode for one in running):
                raise RuntimeError(f"an audit ended with an error: {''.join(said).strip()[-200:]}")
            bench.write(row=[count, f"{wall:.1f}"])
        tables = {(Path(folder) / name / "table.csv").read_bytes() for name in ("1-0", "2-0", "2-1")}
    bench.write(note=f"Different tables among the three runs: {len(tables)} (1: all three are equal, byte for byte).")


SECTIONS: dict[str, Callable[[Bench], None]] = {
    "card": card,
    "embeddings": embeddings,
    "verdicts": verdicts,
    "speed": speed,
    "calibration": calibration,
    "two_audits": two_audits,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("section", choices=SECTIONS)
    parser.add_argument("file", type=Path, help="findings are added to it, one JSON line each")
    parser.add_argument("--small", action="store_true", help="narrow towers and few samples on the CPU")
    asked = parser.parse_args()
    if asked.small:
        torch.set_num_threads(1)
    SECTIONS[asked.section](Bench(asked.small, asked.file))


if __name__ == "__main__":
    main()
