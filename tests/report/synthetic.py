"""A made-up run for the report's tests: plausible numbers and plausible samples that no encoder produced."""

from pathlib import Path

import numpy as np

from ironbind.core.results import CalibrationRecord, Check, GalleryItem, Prediction, Result, Row, ThreatModelRecord

INPUTS = (
    ("image", "pixels"),
    ("video", "pixels"),
    ("audio", "logmel"),
    ("audio", "waveform"),
    ("point", "unit_sphere"),
    ("thermal", "pixels"),
    ("event", "event_frames"),
)
CALIBRATIONS = ("center_ce", "infonce")
CLASSES = ("bottle", "bell", "cup", "drum", "gear", "horn", "kettle", "lamp", "ring", "screw")
N = 400


def ladder(space: str) -> tuple[str, ...]:
    return ("0.1/255", "0.2/255", "0.4/255", "0.8/255") if space == "waveform" else ("1/255", "2/255", "4/255", "8/255")


def wilson(percent: float, n: int) -> tuple[float, float]:
    p, z = percent / 100, 1.959964
    middle, half = p + z * z / (2 * n), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return 100 * max(0.0, (middle - half) / (1 + z * z / n)), 100 * min(1.0, (middle + half) / (1 + z * z / n))


def row(
    modality,
    space,
    task,
    metric,
    threat_model,
    value,
    eps="0",
    calibration="none",
    encoder="tiny",
    attack="PGD",
    norm="linf",
    n=N,
) -> Row:
    clean = threat_model == "clean"
    value = round(value * n / 100) * 100 / n if metric != "mean_rank" else value
    low, high = (value * 0.93, value * 1.07) if metric == "mean_rank" else wilson(value, n)
    return Row(
        encoder,
        calibration,
        modality,
        space,
        task,
        metric,
        "none" if clean else attack,
        "none" if clean else norm,
        "0" if clean else eps,
        threat_model,
        float(value),
        float(low),
        float(high),
        n,
    )


def rows(inputs=INPUTS, calibrations=CALIBRATIONS) -> list[Row]:
    rng = np.random.default_rng(7)
    found = []
    for modality, space in inputs:
        strength = 82 + 12 * rng.random()
        tasks = {
            "zero_shot": ("top1", "top5", "mean_rank"),
            f"retrieval:{modality}->text": ("R@1", "R@5", "R@10"),
            f"retrieval:text->{modality}": ("R@1", "R@5", "R@10"),
        }
        if modality != "image":
            tasks |= {
                f"retrieval:{modality}->image": ("R@1", "R@5", "R@10"),
                f"retrieval:image->{modality}": ("R@1", "R@5", "R@10"),
            }
        fragility = 0.35 + 0.5 * rng.random()
        for task, metrics in tasks.items():
            ceiling = strength if task == "zero_shot" else strength * (0.4 + 0.2 * rng.random())
            for position, metric in enumerate(metrics):

                def value(share, task=task, metric=metric, position=position, ceiling=ceiling):
                    if metric == "mean_rank":
                        return 1.2 + 8 * (1 - share)
                    return min(
                        99.5,
                        ceiling * share ** (1 / (1 + position)) + (0 if task == "zero_shot" else 8 * position * share),
                    )

                found.append(row(modality, space, task, metric, "clean", value(1.0)))
                for calibration in calibrations:
                    found.append(
                        row(
                            modality,
                            space,
                            task,
                            metric,
                            "clean",
                            value(0.93 if calibration == "infonce" else 0.78),
                            calibration=calibration,
                        )
                    )
                for rung, eps in enumerate(ladder(space)):
                    left = np.exp(-fragility * 2.0**rung)
                    found.append(row(modality, space, task, metric, "whitebox", value(left), eps))
                    for calibration in calibrations:
                        lift = (0.62 if calibration == "center_ce" else 0.45) * np.exp(-0.18 * 2.0**rung)
                        found.append(
                            row(
                                modality,
                                space,
                                task,
                                metric,
                                "replayed",
                                value(min(0.8, left * 0.6 + lift)),
                                eps,
                                calibration,
                            )
                        )
                        found.append(
                            row(
                                modality,
                                space,
                                task,
                                metric,
                                "adaptive",
                                value(left * (0.9 if rung < 2 else 1.05) + 0.01),
                                eps,
                                calibration,
                            )
                        )
    return found


def samples(modality: str, space: str, rng) -> dict[str, np.ndarray]:
    def sign(shape, eps):
        return (eps * np.sign(rng.standard_normal(shape))).astype(np.float32)

    yy, xx = np.mgrid[0:32, 0:32] / 31
    disc = lambda cx, cy, r: ((xx - cx) ** 2 + (yy - cy) ** 2 < r * r).astype(np.float32)  # noqa: E731
    eps = 4 / 255
    if modality == "image":
        body = disc(0.5, 0.55, 0.28)
        clean = np.stack([0.25 + 0.5 * body * (1 - yy), 0.3 + 0.3 * body * xx, 0.42 - 0.2 * body + 0.3 * yy]).astype(
            np.float32
        )
        return {"clean": clean, "adversarial": np.clip(clean + sign(clean.shape, eps), 0, 1)}
    if modality == "video":
        clean = np.stack(
            [
                np.stack(
                    [
                        0.2 + 0.6 * disc(0.2 + 0.08 * t, 0.5, 0.2),
                        0.3 + 0.2 * yy,
                        0.5 - 0.3 * disc(0.2 + 0.08 * t, 0.5, 0.2),
                    ]
                )
                for t in range(8)
            ]
        ).astype(np.float32)
        return {"clean": clean, "adversarial": np.clip(clean + sign(clean.shape, eps), 0, 1)}
    if modality == "thermal":
        clean = (0.25 + 0.5 * np.exp(-((xx - 0.5) ** 2 + (yy - 0.5) ** 2) * 12) + 0.02 * rng.standard_normal((32, 32)))[
            None
        ].astype(np.float32)
        return {"clean": clean, "adversarial": np.clip(clean + sign(clean.shape, eps), 0, 1)}
    if modality == "event":
        ring = np.abs(np.hypot(xx - 0.5, yy - 0.5) - 0.3) < 0.06
        clean = np.stack([ring * (xx < 0.5) * yy, ring * (xx >= 0.5) * (1 - 0.5 * yy)]).astype(np.float32)
        return {"clean": clean, "adversarial": np.clip(clean + sign(clean.shape, eps), 0, 1)}
    if modality == "point":
        theta, z = rng.uniform(0, 2 * np.pi, 256), rng.uniform(-0.8, 0.8, 256)
        radius = 0.25 + 0.3 * (z + 0.8) / 1.6
        clean = np.stack([radius * np.cos(theta), z, radius * np.sin(theta)], 1).astype(np.float32)
        return {"clean": clean, "adversarial": clean + sign(clean.shape, eps)}
    t = np.arange(8192) / 8000
    wave = (0.5 * np.exp(-4 * t) * (np.sin(2 * np.pi * 660 * t) + 0.4 * np.sin(2 * np.pi * 1760 * t))).astype(
        np.float32
    )
    if space == "waveform":
        twin = np.clip(wave + sign(wave.shape, 0.4 / 255), -1, 1)
        return {"clean": wave[None], "adversarial": twin[None], "waveform": wave, "waveform_adversarial": twin}
    frames = np.abs(
        np.fft.rfft(np.lib.stride_tricks.sliding_window_view(wave, 256)[::128] * np.hanning(256), axis=1)
    ).T[:64]
    mel = np.clip(1 + np.log10(frames / frames.max() + 1e-8) / 4, 0, 1)[None].astype(np.float32)
    return {"clean": mel, "adversarial": np.clip(mel + sign(mel.shape, eps), 0, 1), "waveform": wave}


def predictions(rng, first: str) -> tuple[Prediction, ...]:
    rest = [one for one in rng.permutation(CLASSES) if one != first][:4]
    scores = np.sort(rng.uniform(0.05, 0.45, 5))[::-1]
    return tuple(Prediction(str(label), float(score)) for label, score in zip([first, *rest], scores, strict=True))


def result(name: str = "demo", inputs=INPUTS, calibrations=CALIBRATIONS, gallery: bool = True) -> Result:
    """A run over `inputs`; write its arrays with `write_run`."""
    rng = np.random.default_rng(3)
    radii = {space: tuple(eval(eps) for eps in ladder(space)) for _, space in inputs}
    return Result(
        name=name,
        rows=rows(inputs, calibrations),
        threat_models=[
            ThreatModelRecord(
                modality,
                space,
                "intensity, 0 = black, 1 = white",
                (None, None) if space == "logmel" else (-1.0 if space == "waveform" else 0.0, 1.0),
                "linf",
                ladder(space),
                radii[space],
                tuple(f"{255 * one:.3g} of 255 grey levels" for one in radii[space]),
                "misclassify, margin loss",
                "PGD(steps=20, step=0.25, restarts=1, loss='margin')",
                "weights, class centers and calibration",
                (3, 32, 32),
            )
            for modality, space in inputs
        ],
        calibrations=[
            CalibrationRecord(
                name,
                modality,
                space,
                "linear",
                "fixed-center CE" if name == "center_ce" else "InfoNCE (t=0.07)",
                "PGD(steps=10)",
                ladder(space)[2],
                16512,
                959193,
                2000,
                30,
                12.5,
                0.8,
                2.31,
                0.42,
            )
            for name in calibrations
            for modality, space in inputs
        ],
        checks=[
            Check("C2", "epsilon 0 equals clean", "pass", "0 of 2800 samples differ"),
            Check("C13", "converged", "warn", "loss still moved by 0.07 in the last ten steps", "audio (logmel)"),
            Check("C17", "white-box beats random noise", "pass", "10 000 draws, 0 samples fell only to noise"),
            Check("C8", "gradient equals finite difference", "skipped", "not run in the demo"),
        ],
        gallery=[_item(modality, space, rng, calibrations) for modality, space in inputs] if gallery else [],
        record={
            "command": "ironbind demo --out runs/demo",
            "date": "2025-11-23T08:00:00Z",
            "seed": 0,
            "classes": len(CLASSES),
            "versions": {"ironbind": "0.1.0", "torch": "2.13.0", "numpy": "2.4.6"},
            "machine": "2 cores, x86_64",
            "weights_sha256": "ab" * 32,
            "data": {"name": "world", "fingerprint": "cd" * 32},
            "seconds": {"wall": 151.2, "cpu": 290.4},
            "gradient_passes": 1234567,
        },
    )


def _item(modality: str, space: str, rng, calibrations) -> GalleryItem:
    truth = str(rng.choice(CLASSES))
    wrong = str(rng.choice([one for one in CLASSES if one != truth]))
    return GalleryItem(
        f"{modality}-{space}",
        modality,
        space,
        f"test/{int(rng.integers(9999)):04d}",
        truth,
        "linf",
        ladder(space)[2],
        predictions(rng, truth),
        predictions(rng, wrong),
        calibrations[0] if calibrations else "none",
        predictions(rng, truth) if calibrations else (),
        8000 if modality == "audio" else 0,
    )


def write_run(folder: Path, run: Result) -> Path:
    """The folder that an audit would leave behind."""
    run.write(folder)
    if run.gallery:
        rng = np.random.default_rng(5)
        arrays = {
            f"{item.key}/{name}": array
            for item in run.gallery
            for name, array in samples(item.modality, item.space, rng).items()
        }
        np.savez_compressed(folder / "gallery.npz", **arrays)
    return folder
