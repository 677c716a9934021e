"""Sets of every layout of files, with samples of the sizes that the real ones have: what benchmarks/loaders.py measures
on.
"""

import csv
import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

WNIDS = ("n01440764", "n02123045", "n15075141", "n03126707")


@dataclass(frozen=True)
class Made:
    """How one layout is written: `write(root, count, rng)`; `sample` says what one sample is; `options` load it."""

    name: str
    sample: str
    write: Callable[[Path, int, np.random.Generator], None]
    options: dict[str, Any] = field(default_factory=dict)
    share: float = 1.0  # of the count asked for: videos and meshes are large


# ------------------------------------------------------------------------------------------------- files of real sizes


def place(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def table(path: Path, rows: list) -> None:
    with place(path).open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)


def sound(
    path: Path, rng: np.random.Generator, seconds: float, rate: int, channels: int = 1, subtype: str = "PCM_16"
) -> None:
    import soundfile

    time_axis = np.arange(int(seconds * rate)) / rate
    tone = 0.3 * np.sin(2 * np.pi * rng.uniform(200, 2000, channels) * time_axis[:, None]) + rng.normal(
        0, 0.05, (len(time_axis), channels)
    )
    soundfile.write(place(path), tone.clip(-1, 1), rate, subtype=subtype)


def picture(rng: np.random.Generator, width: int, height: int, channels: int = 3) -> Any:
    """Smooth shapes and some noise: a photograph's share of bits, roughly."""
    from PIL import Image

    coarse = Image.fromarray(rng.integers(0, 256, (12, 16, channels), dtype=np.uint8).squeeze())
    fine = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(np.int16)
    return Image.fromarray((fine + rng.integers(-6, 7, fine.shape)).clip(0, 255).astype(np.uint8))


def jpeg(path: Path, rng: np.random.Generator, width: int, height: int, grey: bool = False) -> None:
    image = picture(rng, width, height, 1 if grey else 3)
    image.convert("RGB").save(place(path), "JPEG", quality=90)


def depth(path: Path, rng: np.random.Generator, rotated: bool = False) -> None:
    from PIL import Image

    millimetres = np.asarray(picture(rng, 640, 480, 1)).astype(np.uint16) * 30 + 500
    Image.fromarray(millimetres << 3 | millimetres >> 13 if rotated else millimetres).save(place(path), "PNG")


def video(path: Path, rng: np.random.Generator, seconds: float, rate: int, codec: str = "mpeg4") -> None:
    import av

    still = np.asarray(picture(rng, 352, 272))
    with av.open(str(place(path)), "w") as container:
        stream = container.add_stream(codec if codec in av.codecs_available else "mpeg4", rate=Fraction(rate))
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for number in range(int(seconds * rate)):
            part = np.ascontiguousarray(still[number % 32 : number % 32 + 240, number % 31 : number % 31 + 320])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(part, format="rgb24")))
        container.mux(stream.encode())


def mesh(path: Path, rng: np.random.Generator, side: int = 70) -> None:
    """A bumpy sheet of 2 (side - 1)^2 triangles: about 10,000, the order of ModelNet40's."""
    x, y = np.meshgrid(np.linspace(0, 1, side), np.linspace(0, 1, side))
    vertices = np.stack([x.ravel(), y.ravel(), rng.uniform(0, 0.1, side * side)], -1)
    corner = (np.arange(side - 1)[:, None] * side + np.arange(side - 1)).ravel()
    faces = np.concatenate(
        [
            np.stack([corner, corner + 1, corner + side], -1),
            np.stack([corner + 1, corner + side, corner + side + 1], -1),
        ]
    )
    with place(path).open("w", encoding="utf-8") as file:
        file.write(f"OFF{len(vertices)} {len(faces)} 0\n")
        np.savetxt(file, vertices, fmt="%.6f")
        np.savetxt(file, np.c_[np.full(len(faces), 3), faces], fmt="%d")


def clouds(path: Path, rng: np.random.Generator, labels: np.ndarray) -> None:
    import h5py

    with h5py.File(place(path), "w") as file:
        file.create_dataset(
            "data",
            data=rng.uniform(-1, 1, (len(labels), 2048, 3)).astype(np.float32),
            compression="gzip",
            compression_opts=4,
        )
        file.create_dataset("label", data=labels.astype(np.uint8))


def events(count: int, rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    rows = np.zeros(count, [("x", "u2"), ("y", "u2"), ("t", "i8"), ("p", "?")])
    rows["x"], rows["y"] = rng.integers(0, width, count), rng.integers(0, height, count)
    rows["t"], rows["p"] = np.sort(rng.integers(0, 300_000, count)), rng.integers(0, 2, count)
    return rows


# ------------------------------------------------------------------------------------------------------------ the sets


def esc50(root: Path, count: int, rng: np.random.Generator) -> None:
    for number in range(count):
        sound(root / "audio" / f"{number}.wav", rng, 5, 44100)
    rows = [[f"{number}.wav", number % 5 + 1, number % 50, f"class_{number % 50}"] for number in range(count)]
    table(root / "meta" / "esc50.csv", [["filename", "fold", "target", "category"], *rows])


def urbansound8k(root: Path, count: int, rng: np.random.Generator) -> None:
    for number in range(count):
        sound(root / "audio" / f"fold{number % 10 + 1}" / f"{number}.wav", rng, 4, 48000, 2, "PCM_24")
    rows = [[f"{number}.wav", number % 10 + 1, number % 10, f"class_{number % 10}"] for number in range(count)]
    table(root / "metadata" / "UrbanSound8K.csv", [["slice_file_name", "fold", "classID", "class"], *rows])


def audioset(root: Path, count: int, rng: np.random.Generator) -> None:
    table(
        root / "class_labels_indices.csv",
        [["index", "mid", "display_name"], *([n, f"/m/{n}", f"class {n}"] for n in range(10))],
    )
    lines = [f'clip{number:07d}, 30.000, 40.000, "/m/{number % 10}"\n' for number in range(count)]
    (root / "eval_segments.csv").write_text("# a\n# b\n# c\n" + "".join(lines), encoding="utf-8")
    for number in range(count):
        sound(root / "eval_segments" / f"clip{number:07d}_30000_40000.flac", rng, 10, 44100)


def vggsound(root: Path, count: int, rng: np.random.Generator) -> None:
    table(
        root / "vggsound.csv",
        [[f"clip{number:07d}", 30, f"class {number % 10}, loud", "test"] for number in range(count)],
    )
    for number in range(count):
        sound(root / "audio" / f"clip{number:07d}_000030.wav", rng, 10, 16000)


def clotho(root: Path, count: int, rng: np.random.Generator) -> None:
    header = ["file_name", *(f"caption_{number}" for number in range(1, 6))]
    table(
        root / "clotho_captions_evaluation.csv",
        [header, *([f"{n}.wav", *["a long sentence about a sound"] * 5] for n in range(count))],
    )
    for number in range(count):
        sound(root / "evaluation" / f"{number}.wav", rng, 22, 44100)


def audiocaps(root: Path, count: int, rng: np.random.Generator) -> None:
    rows = [[5 * n + k, f"clip{n:07d}", 30, f"sentence {k}"] for n in range(count) for k in range(5)]
    table(root / "dataset" / "test.csv", [["audiocap_id", "youtube_id", "start_time", "caption"], *rows])
    for number in range(count):
        sound(root / "test" / f"clip{number:07d}_30.wav", rng, 10, 16000)


def modelnet40_off(root: Path, count: int, rng: np.random.Generator) -> None:
    for number in range(count):
        name = ("airplane", "night_stand")[number % 2]
        mesh(root / name / "test" / f"{name}_{number:04d}.off", rng)


def modelnet40_txt(root: Path, count: int, rng: np.random.Generator) -> None:
    stems = [f"{('airplane', 'night_stand')[number % 2]}_{number:04d}" for number in range(count)]
    (root / "modelnet40_shape_names.txt").write_text("airplane\nnight_stand\n", encoding="utf-8")
    (root / "modelnet40_test.txt").write_text("\n".join(stems), encoding="utf-8")
    for stem in stems:
        np.savetxt(place(root / stem[:-5] / f"{stem}.txt"), rng.uniform(-1, 1, (10_000, 6)), fmt="%.6f", delimiter=",")


def modelnet40_h5(root: Path, count: int, rng: np.random.Generator) -> None:
    (root / "shape_names.txt").write_text("airplane\nnight_stand\n", encoding="utf-8")
    (root / "test_files.txt").write_text("data/modelnet40_ply_hdf5_2048/ply_data_test0.h5\n", encoding="utf-8")
    clouds(root / "ply_data_test0.h5", rng, np.arange(count) % 2)


def scanobjectnn(root: Path, count: int, rng: np.random.Generator) -> None:
    clouds(root / "main_split" / "test_objectdataset_augmentedrot_scale75.h5", rng, np.arange(count) % 15)


def shapenet(root: Path, count: int, rng: np.random.Generator) -> None:
    stems = [f"{('02691156', '03001627')[number % 2]}-{number}" for number in range(count)]
    place(root / "ShapeNet-55" / "test.txt").write_text("".join(f"{stem}.npy\n" for stem in stems), encoding="utf-8")
    for stem in stems:
        np.save(place(root / "shapenet_pc" / f"{stem}.npy"), rng.uniform(-1, 1, (8192, 3)).astype(np.float32))


def ncaltech101(root: Path, count: int, rng: np.random.Generator) -> None:
    for number in range(count):
        rows = events(115_000, rng, 230, 174)
        t, p = rows["t"], rows["p"].astype(np.int64)
        raw = np.stack([rows["x"], rows["y"], p << 7 | t >> 16, t >> 8 & 255, t & 255], -1).astype(np.uint8)
        raw.tofile(place(root / "Caltech101" / ("Faces_easy", "accordion")[number % 2] / f"image_{number:04d}.bin"))


def nimagenet(root: Path, count: int, rng: np.random.Generator) -> None:
    for number in range(count):
        path = root / "extracted_val" / f"Part_{number % 4 + 1}" / WNIDS[number % 4] / f"{number}.npz"
        np.savez_compressed(place(path), event_data=events(70_000, rng, 640, 480))


def imagenet(root: Path, count: int, rng: np.random.Generator) -> None:
    for number in range(count):
        jpeg(root / "val" / WNIDS[number % 4] / f"{number}.JPEG", rng, 500, 375)


def photograph(rng: np.random.Generator) -> bytes:
    out = io.BytesIO()
    picture(rng, 500, 375).save(out, "JPEG", quality=90)
    return out.getvalue()


def parquet(file: str, classes: int, root: Path, count: int, rng: np.random.Generator) -> None:
    """As Hugging Face's `datasets` writes it, the names of classes in the schema."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    images = [{"bytes": photograph(rng), "path": f"{number}.JPEG"} for number in range(count)]
    features = {
        "image": {"_type": "Image"},
        "label": {"_type": "ClassLabel", "names": [f"class {number}" for number in range(classes)]},
    }
    rows = pa.table({"image": images, "label": [number % classes for number in range(count)]})
    rows = rows.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(rows, place(root / "data" / file), row_group_size=100)


def webdataset(root: Path, count: int, rng: np.random.Generator) -> None:
    (root / "classnames.txt").write_text("cat\ndog\n", encoding="utf-8")
    with tarfile.open(root / "test-000000.tar", "w") as tar:
        for number in range(count):
            for kind, data in (("jpg", photograph(rng)), ("cls", str(number % 2).encode())):
                member = tarfile.TarInfo(f"{number:06d}.{kind}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))


def places365(root: Path, count: int, rng: np.random.Generator) -> None:
    (root / "categories_places365.txt").write_text("/a/airfield 0\n/z/zen_garden 1\n", encoding="utf-8")
    (root / "places365_val.txt").write_text(
        "".join(f"{number}.jpg {number % 2}\n" for number in range(count)), encoding="utf-8"
    )
    for number in range(count):
        jpeg(root / "val_256" / f"{number}.jpg", rng, 256, 256)


def class_folders(
    folder: str, names: tuple[str, ...], write: Callable[..., None], suffix: str, root: Path, count: int, rng: Any
) -> None:
    for number in range(count):
        write(root / folder / names[number % len(names)] / f"{number}{suffix}", rng)


def llvip(root: Path, count: int, rng: np.random.Generator) -> None:
    box = (
        "<object><name>person</name><bndbox>"
        "<xmin>{}</xmin><ymin>300</ymin><xmax>{}</xmax><ymax>500</ymax></bndbox></object>"
    )
    for number in range(count // 4):  # two persons a picture, and as many crops of background
        jpeg(root / "infrared" / "test" / f"{number}.jpg", rng, 1280, 1024, grey=True)
        boxes = box.format(100, 180) + box.format(900, 980)
        size = "<size><width>1280</width><height>1024</height><depth>3</depth></size>"
        place(root / "Annotations" / f"{number}.xml").write_text(
            f"<annotation>{size}{boxes}</annotation>", encoding="utf-8"
        )


def msrvtt(root: Path, count: int, rng: np.random.Generator) -> None:
    videos = [{"video_id": f"video{number}", "category": number % 20, "split": "test"} for number in range(count)]
    sentences = [{"video_id": one["video_id"], "caption": f"sentence {k}"} for one in videos for k in range(20)]
    (root / "MSRVTT_data.json").write_text(json.dumps({"videos": videos, "sentences": sentences}), encoding="utf-8")
    for number in range(count):
        video(root / "MSRVTT_Videos" / f"video{number}.mp4", rng, 15, 25, "libx264")


def ucf101(root: Path, count: int, rng: np.random.Generator) -> None:
    place(root / "ucfTrainTestlist" / "classInd.txt").write_text("1 ApplyEyeMakeup\n2 YoYo\n", encoding="utf-8")
    names = [f"{('ApplyEyeMakeup', 'YoYo')[number % 2]}/v_{number}.avi" for number in range(count)]
    (root / "ucfTrainTestlist" / "testlist01.txt").write_text("\n".join(names), encoding="utf-8")
    for name in names:
        video(root / "UCF-101" / name, rng, 7, 25)


def kinetics(root: Path, count: int, rng: np.random.Generator) -> None:
    rows = [[f"class {number % 10}", f"clip{number:07d}", 10, 20, "val"] for number in range(count)]
    table(root / "annotations" / "val.csv", [["label", "youtube_id", "time_start", "time_end", "split"], *rows])
    for number in range(count):
        video(root / "val" / f"clip{number:07d}_000010_000020.mp4", rng, 10, 30, "libx264")


def sund(root: Path, count: int, rng: np.random.Generator) -> None:
    for number in range(count):
        folder = root / "SUNRGBD" / ("kv1", "kv2")[number % 2] / f"{number:06d}"
        place(folder / "scene.txt").write_text(("bathroom", "office")[number % 2], encoding="utf-8")
        depth(folder / "depth" / f"{number}.png", rng, rotated=True)


def listed_json(root: Path, count: int, rng: np.random.Generator) -> None:
    for number in range(count):
        jpeg(root / "test_dataset" / f"{number}.jpg", rng, 500, 375)
    (root / "test_data.json").write_text(
        json.dumps([{"data": f"{n}.jpg", "label": f"class_{n % 2}"} for n in range(count)]), encoding="utf-8"
    )


def listed_csv(root: Path, count: int, rng: np.random.Generator) -> None:
    for number in range(count):
        jpeg(root / f"{number}.jpg", rng, 500, 375)
    table(root / "own.csv", [["id", "image", "label"], *([n, f"{n}.jpg", f"class {n % 2}"] for n in range(count))])


def mteb_task(root: Path, count: int, rng: np.random.Generator) -> None:
    """What is kept of a task of mteb."""
    import pyarrow as pa

    from ironbind.data.hubs.cached_samples import file_type, write_rows

    rows = (
        {"id": f"test/{number}", "file": {"bytes": photograph(rng), "path": None}, "label": number % 2}
        for number in range(count)
    )
    write_rows(root / "samples.rows", rows, {"id": pa.string(), "file": file_type(), "label": pa.int64()})
    about = {"format": "ironbind mteb task 1", "name": "Pets", "modality": "image", "classes": ["a cat", "a dog"]}
    about |= {"subset": "default", "split": "test", "revision": "1"}
    (root / "task.json").write_text(json.dumps(about), encoding="utf-8")


def fetched(root: Path, count: int, rng: np.random.Generator) -> None:
    """What is kept of a data set of the Hub."""
    parquet("fetched.parquet", 2, root, count, rng)
    (root / "data" / "fetched.parquet").rename(root / "00000.rows")
    about = {"format": "ironbind fetched 1", "name": "hf:o/pets", "split": "test", "revision": "", "rows": count}
    (root / "fetched.json").write_text(
        json.dumps({**about, "files": ["00000.rows"], "complete": True}), encoding="utf-8"
    )


photo, night, crop = (
    partial(jpeg, width=500, height=375),
    partial(jpeg, width=640, height=512, grey=True),
    partial(jpeg, width=300, height=200),
)
SETS = [
    Made("esc50", "5 s, 44.1 kHz, 16 bits, WAV", esc50),
    Made("urbansound8k", "4 s, 48 kHz, stereo, 24 bits, WAV", urbansound8k),
    Made("audioset", "10 s, 44.1 kHz, FLAC", audioset),
    Made("vggsound", "10 s, 16 kHz, WAV", vggsound),
    Made("clotho", "22 s, 44.1 kHz, WAV", clotho),
    Made("audiocaps", "10 s, 16 kHz, WAV", audiocaps),
    Made("modelnet40", "off, 9522 triangles", modelnet40_off, {"form": "off"}, 0.5),
    Made("modelnet40", "txt, 10,000 rows", modelnet40_txt, {"form": "txt"}, 0.5),
    Made("modelnet40", "h5, 2048 points", modelnet40_h5, {"form": "h5"}),
    Made("scanobjectnn", "h5, 2048 points", scanobjectnn),
    Made("shapenet", "npy, 8192 points", shapenet),
    Made("ncaltech101", "115,000 events, bin", ncaltech101),
    Made("nimagenet", "70,000 events, npz", nimagenet),
    Made("imagenet", "500 x 375, JPEG", imagenet),
    Made("imagenet", "500 x 375, parquet", partial(parquet, "validation-00000-of-00001.parquet", 1000)),
    Made("places365", "256 x 256, JPEG", places365),
    Made(
        "caltech101",
        "300 x 200, JPEG",
        partial(class_folders, "101_ObjectCategories", ("accordion", "yin_yang"), crop, ".jpg"),
    ),
    Made("llvip", "crop of 80 x 200 from 1280 x 1024, JPEG", llvip),
    Made("flir", "640 x 512, JPEG", partial(class_folders, "val", ("car", "person", "bicycle"), night, ".jpeg")),
    Made(
        "rgbt",
        "640 x 512, JPEG",
        partial(class_folders, "thermal", ("street", "yard"), night, ".jpg"),
        {"modality": "thermal"},
    ),
    Made("msrvtt", "15 s, 320 x 240, 25 fps, H.264", msrvtt, share=0.1),
    Made("ucf101", "7 s, 320 x 240, 25 fps, MPEG-4", ucf101, share=0.1),
    Made("kinetics", "10 s, 320 x 240, 30 fps, H.264", kinetics, share=0.1),
    Made(
        "nyud", "640 x 480, 16-bit PNG", partial(class_folders, "data/val", ("bathroom", "home_office"), depth, ".png")
    ),
    Made("sund", "640 x 480, 16-bit PNG, rotated", sund),
    Made("unibind_json", "500 x 375, JPEG", listed_json, {"modality": "image"}),
    Made("csv", "500 x 375, JPEG", listed_csv),
    Made("webdataset", "500 x 375, JPEG in tar", webdataset),
    Made("hf_datasets", "500 x 375, parquet", partial(parquet, "test-00000-of-00001.parquet", 2)),
    Made("hub", "500 x 375, parquet", fetched),
    Made("mteb", "500 x 375, parquet", mteb_task),
    Made("folder", "500 x 375, JPEG", partial(class_folders, "", ("cat", "dog"), photo, ".jpg"), {"modality": "image"}),
]
