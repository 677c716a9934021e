"""The built-in audio tower's shape on real recordings, its speakers held out: the table of docs/real-sounds.md.

    python scripts/real_sounds.py train    --recordings recordings --out runs/sounds
    python scripts/real_sounds.py harden   --recipe hardened ...     # center_ce and l2: heads of the paper
    python scripts/real_sounds.py audit    --recipe hardened --space logmel ...
    python scripts/real_sounds.py tables   --out runs/sounds

`--recordings`: a folder of spoken digits, `<digit>_<speaker>_<take>.wav` (free-spoken-digit-dataset). The speakers
HELD_OUT are attacked and reported, and heard in no training. Of the others, takes below TUNE_FROM train, the rest
choose the state. Every part keeps what it found under --out.
"""

import argparse
import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import safetensors.torch
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from ironbind.api import audit
from ironbind.attacks import bindattack
from ironbind.calibration.calibrate import calibrate
from ironbind.calibration.calibrated import load_calibrated
from ironbind.core.markdown_tables import markdown_table, put
from ironbind.core.results import Result, Row
from ironbind.data.listing import Listing
from ironbind.data.storage.files import Files
from ironbind.encoders import load_encoder
from ironbind.encoders.from_callable import CallableEncoder, from_callable
from ironbind.encoders.shared.official_form import write_tensors
from ironbind.encoders.tiny.model import DIM, MEL_FRAMES, MELS, RATE, LogMel, Tower
from ironbind.evaluate.tasks.zero_shot import ZeroShot
from ironbind.modalities.audio import AUDIO
from ironbind.recipes import CALIBRATIONS
from ironbind.runs.prompted_tasks import zero_shot
from ironbind.types import Audio, Budget, ClassCenters, Linf, budget_of

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "real-sounds.md"
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
HELD_OUT = ("theo", "yweweler")
TUNE_FROM = 20
SEED = 0
SPEEDS = (0.76, 0.82, 0.88, 0.94, 1.0, 1.08, 1.16, 1.26)
EPOCHS, BATCH = 20, 50  # of all recordings at all speeds
HEADS = ("center_ce", "l2")
RECIPES = (*HEADS, "hardened")
BUDGETS: dict[str, tuple[Budget, ...]] = {
    "logmel": (Linf("2/255"), Linf("4/255")),
    "waveform": (Linf("0.4/255"), Linf("0.8/255")),
    "snr": (budget_of("snr", "40dB"), budget_of("snr", "30dB")),
}
SPACE = {"snr": "waveform"}


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("part", choices=("train", "harden", "audit", "tables"))
    made.add_argument("--recordings", type=Path)
    made.add_argument("--out", type=Path, default=Path("runs/sounds"))
    made.add_argument("--recipe", choices=("none", *RECIPES), default="none")
    made.add_argument("--budgets", choices=tuple(BUDGETS), default="logmel")
    made.add_argument("--steps", type=int, default=400, help="of the optimiser, for hardened")
    made.add_argument("--samples", type=int, default=500, help="held-out recordings to attack")
    return made


def recordings(folder: Path) -> tuple[Listing, Listing, Listing]:
    """Of speakers held out, for choosing, for training."""
    held, tune, train = list[str](), list[str](), list[str]()
    for path in sorted(folder.glob("*.wav")):
        _, speaker, take = path.stem.split("_")
        (held if speaker in HELD_OUT else tune if int(take) >= TUNE_FROM else train).append(path.name)
    generator = torch.Generator().manual_seed(SEED)
    held = [held[row] for row in torch.randperm(len(held), generator=generator).tolist()]  # any part is of all digits
    held_out, judged = (listing(folder, name, files) for name, files in (("held out", held), ("tune", tune)))
    return held_out, judged, listing(folder, "train", train * len(SPEEDS), [one for one in SPEEDS for _ in train])


def listing(folder: Path, name: str, files: list[str], speeds: list[float] | None = None) -> Listing:
    """These recordings, each played at its speed."""
    read = Files(folder, files, AUDIO.read)
    source = AtSpeeds(read, speeds) if speeds else read
    ids = [f"{file} x{speed:g}" for file, speed in zip(files, speeds, strict=True)] if speeds else files
    return Listing(f"spoken-digits {name}", DIGITS, ids, [int(file[0]) for file in files], {"audio": source})


@dataclass(frozen=True, eq=False)
class AtSpeeds:
    """Recordings played faster or slower, so that a voice is higher or lower: four speakers do for more of them."""

    recordings: Files
    speeds: list[float]

    def __len__(self) -> int:
        return len(self.recordings)

    def decode(self, row: int) -> Audio:
        """The recording under another sampling rate."""
        sound = self.recordings.decode(row)
        assert isinstance(sound, Audio)
        return replace(sound, rate=round(sound.rate * self.speeds[row]))

    def place(self, row: int) -> str:
        """As the recording's, and the speed."""
        return f"{self.recordings.place(row)} x{self.speeds[row]:g}"

    def digest(self, row: int) -> str:
        """As the recording's, and the speed."""
        return f"{self.recordings.digest(row)} x{self.speeds[row]:g}"

    def keep(self, rows: Sequence[int]) -> "AtSpeeds":
        """Those rows."""
        return AtSpeeds(self.recordings.keep(rows), [self.speeds[row] for row in rows])

    def absent(self) -> list[int]:
        """As the recordings'."""
        return self.recordings.absent()


class Sounds(nn.Module):
    """The built-in audio tower's shape, and a learned center per digit."""

    def __init__(self) -> None:
        super().__init__()
        self.log_mel = LogMel()
        self.tower = Tower(1, (MELS, MEL_FRAMES), 0.44, 0.12)
        self.centers = nn.Parameter(torch.randn(len(DIGITS), DIM))

    def forward(self, mel: Tensor) -> Tensor:
        return F.normalize(self.tower(mel), dim=1)


def varied(waveform: Tensor, generator: torch.Generator) -> Tensor:
    """Shifted by up to 0.1 s, up to 6 dB louder or softer, with noise 20 to 50 dB below full scale's tenth."""
    shift = torch.randint(-RATE // 10, RATE // 10 + 1, (len(waveform),), generator=generator).tolist()
    moved = torch.stack([row.roll(by, dims=-1) for row, by in zip(waveform, shift, strict=True)])
    gain = 10 ** ((torch.rand(len(waveform), 1, 1, generator=generator) * 12 - 6) / 20)
    level = 0.1 * 10 ** (-(torch.rand(len(waveform), 1, 1, generator=generator) * 30 + 20) / 20)
    return (gain * moved + level * torch.randn(moved.shape, generator=generator)).clamp(-1, 1)


def waveforms(data: Listing) -> Tensor:
    prepare = load_encoder("tiny").inputs["audio"].prepare
    return torch.stack([prepare(sound) for sound in data.decode("audio", range(len(data)))])


def train(asked: argparse.Namespace) -> None:
    """The tower on its training recordings, the state of the best epoch on those for choosing."""
    _, tune, train_on = recordings(asked.recordings)
    torch.manual_seed(SEED)
    generator = torch.Generator().manual_seed(SEED)
    model, started = Sounds(), time.process_time()
    x, label = waveforms(train_on), torch.tensor(train_on.labels)
    judged, truth = waveforms(tune), torch.tensor(tune.labels)
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
    steps = EPOCHS * (len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps)
    best = -1.0
    for epoch in range(EPOCHS):
        for rows in batches_of(len(x), generator):
            z = model(model.log_mel(varied(x[rows], generator)))
            loss = F.cross_entropy(20 * z @ F.normalize(model.centers, dim=1).T, label[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        with torch.no_grad():
            scores = model(model.log_mel(judged)) @ F.normalize(model.centers, dim=1).T
        right = float((scores.argmax(1) == truth).float().mean())
        if right >= best:
            best, state = right, {name: value.clone() for name, value in model.state_dict().items()}
        print(
            f"{time.process_time() - started:.0f} CPU s: epoch {epoch + 1}, {100 * right:.1f} % to choose by",
            flush=True,
        )
    write_tensors(asked.out / "sounds.safetensors", state)
    about = {"cpu_s": time.process_time() - started, "tune": 100 * best, "recordings": len(x) // len(SPEEDS)}
    note(asked.out / "train.json", about)


def batches_of(count: int, generator: torch.Generator) -> Iterator[Tensor]:
    yield from torch.randperm(count, generator=generator)[: count // BATCH * BATCH].split(BATCH)


def encoder_in(out: Path) -> tuple[CallableEncoder, ClassCenters]:
    """The trained tower as an encoder, and its centers."""
    model = Sounds()
    model.load_state_dict(safetensors.torch.load_file(out / "sounds.safetensors"))
    model.requires_grad_(False).eval()
    spec = replace(load_encoder("tiny").inputs["audio"], attack_space="logmel")
    functions = {("audio", "waveform"): lambda x: model(model.log_mel(x)), ("audio", "logmel"): lambda x: model(x)}
    encoder = from_callable("spoken-digits", functions, inputs={"audio": spec}, model=model.tower)
    z = F.normalize(model.centers, dim=1).detach()
    return encoder, ClassCenters(z, torch.arange(len(DIGITS)), DIGITS)


def task_of(asked: argparse.Namespace, data: Listing) -> ZeroShot:
    encoder, centers = encoder_in(asked.out)
    return zero_shot(encoder, data, "audio", space=SPACE.get(asked.budgets, asked.budgets), centers=centers)


def harden(asked: argparse.Namespace) -> None:
    """A recipe, trained on examples in log-mel."""
    held_out, tune, train_on = recordings(asked.recordings)
    recipe = CALIBRATIONS[asked.recipe](seed=SEED)
    recipe = recipe.within(asked.steps) if recipe.uses_adversarial_training else recipe
    if recipe.uses_adversarial_training:  # all recordings for choosing, as often as for a long training
        stages = tuple(
            replace(stage, adversarial_training=replace(stage.adversarial_training, validation=len(tune), every=200))
            for stage in recipe.stages
            if stage.adversarial_training is not None
        )
        recipe = replace(recipe, stages=stages)
    started = time.process_time()
    folder = asked.out / asked.recipe
    told = partial(say, started)
    hard = calibrate(task_of(asked, held_out), recipe, train_on, tune=tune, cache=folder / "cache", progress=told)
    hard.save_pretrained(folder)
    seconds = time.process_time() - started
    note(folder / "about.json", {"cpu_s": seconds, "trained": hard.trainable(), "steps": asked.steps})


def audit_part(asked: argparse.Namespace) -> None:
    """Clean, attacked, and for what was trained replayed and adaptive, on the speakers held out."""
    held_out, _, _ = recordings(asked.recordings)
    task = task_of(asked, held_out.keep(range(min(asked.samples, len(held_out)))))
    encoder = task.encoder if asked.recipe == "none" else load_calibrated(task.encoder, str(asked.out / asked.recipe))
    folder = asked.out / f"audit-{asked.recipe}-{asked.budgets}"
    audit(
        task.on(encoder), bindattack("standard"), BUDGETS[asked.budgets], out=folder, keep_examples=True,
        progress=partial(say, time.process_time()),
    )  # fmt: skip


def say(started: float, what: str, done: int, total: int) -> None:
    print(f"{time.process_time() - started:.0f} CPU s: {what} {done} of {total}", flush=True)


def note(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")


# ------------------------------------------------------------------------------------------------------ the tables


def shown(row: Row) -> str:
    return f"{row.value:.1f} ({row.ci_low:.1f}–{row.ci_high:.1f})"


def found(out: Path, recipe: str, budgets: str, calibration: str, model: str, eps: str) -> Row:
    result = Result.read(out / f"audit-{recipe}-{budgets}")
    (row,) = result.select(calibration=calibration, threat_model=model, metric="top1", eps=eps)
    return row


def tables(out: Path, page: Path = PAGE) -> None:
    """Writes what was measured between the marks of the page."""
    head = (
        "trained",
        "perturbed",
        "budget",
        "clean before",
        "clean after",
        "attacked before",
        "replayed",
        "adaptive",
        "n",
    )
    lines = []
    for recipe in RECIPES:
        for budgets, every in BUDGETS.items():
            if not (out / f"audit-{recipe}-{budgets}" / "result.json").exists():
                continue
            for budget in every:
                get = partial(found, out, recipe, budgets)
                before = get("none", "clean", "0")
                trained = [
                    shown(get(recipe, "clean", "0")), shown(get("none", "whitebox", budget.written)),
                    shown(get(recipe, "replayed", budget.written)), shown(get(recipe, "adaptive", budget.written)),
                ]  # fmt: skip
                where = SPACE.get(budgets, budgets)
                lines.append([recipe, where, budget.written, shown(before), *trained, before.n])
    put(page, "sounds", markdown_table(head, lines))


def main(arguments: Sequence[str] | None = None) -> None:
    asked = parser().parse_args(arguments)
    torch.set_num_threads(1)
    if asked.part == "tables":
        tables(asked.out)
        return
    {"train": train, "harden": harden, "audit": audit_part}[asked.part](asked)


if __name__ == "__main__":
    main()
