"""Tiny sets in the real formats of video data sets, encoded by PyAV: H.264 or MPEG-4 in MP4, MPEG-4 (XVID) in AVI."""

import json
from pathlib import Path
from typing import Any

import av
import numpy as np

from layouts.tiny_sounds import table, text


def clip(path: Path, seed: int = 0, codec: str = "mpeg4", frames: int = 4) -> Path:
    """Four frames at 8 a second; the container follows the suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=8)
        stream.height, stream.width, stream.pix_fmt = 32, 48, "yuv420p"
        for _ in range(frames):
            frame = np.repeat(np.repeat(rng.integers(0, 256, (4, 6, 3), dtype=np.uint8), 8, 0), 8, 1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


def msrvtt_videos(split: str, numbers: range) -> list[dict[str, Any]]:
    return [
        {"category": number % 20, "url": "https://www.youtube.com/watch?v=x", "video_id": f"video{number}",
         "start time": 1.0, "end time": 9.5, "split": split, "id": number} for number in numbers
    ]  # fmt: skip


def msrvtt(root: Path) -> dict[str, Any]:
    """Test videos 7010 to 7015 with 3 captions each, and one of training."""
    videos = msrvtt_videos("train", range(1)) + msrvtt_videos("test", range(7010, 7016))
    sentences = [
        {"caption": f"a man does {video['id']}, take {number}", "video_id": video["video_id"], "sen_id": number}
        for number in range(3)
        for video in videos
    ]
    text(root / "MSRVTT_data.json", json.dumps({"info": {"year": "2016"}, "videos": videos, "sentences": sentences}))
    for number in range(7010, 7016):
        clip(root / "MSRVTT_Videos" / f"video{number}.mp4", number)
    rows = [
        (f"ret{n}", "msr9771", f"video{number}", f'one "sentence", of {number}')
        for n, number in enumerate((7014, 7011, 7013))
    ]
    table(root / "MSRVTT_JSFUSION_test.csv", [("key", "vid_key", "video_id", "sentence"), *rows])
    return {}


def ucf101(root: Path) -> dict[str, Any]:
    lists = root / "ucfTrainTestlist"
    text(lists / "classInd.txt", "1 ApplyEyeMakeup\r\n2 HandstandPushups\r\n3 YoYo\r\n")
    test = [("ApplyEyeMakeup", "ApplyEyeMakeup"), ("HandstandPushups", "HandStandPushups"), ("YoYo", "YoYo")]
    names = [f"{folder}/v_{name}_g0{group}_c01.avi" for folder, name in test for group in (1, 2)]
    text(lists / "testlist01.txt", "".join(f"{name}\r\n" for name in names))
    text(lists / "trainlist01.txt", "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1\r\nYoYo/v_YoYo_g08_c01.avi 3\r\n")
    for number, name in enumerate(names):
        # the folder on disk has the other capitals than the list
        clip(root / "UCF-101" / name.replace("HandstandPushups/", "HandStandPushups/"), number)
    return {}


def kinetics(root: Path) -> dict[str, Any]:
    rows = [
        ("abseiling", "0wR5jVB-WPk", 417, 427), ("air drumming", "6d0SkT3ZJ4k", 0, 10),
        ("abseiling", "3caPS4FHFF8", 36, 46),
        ("air drumming", "gone_Video1", 5, 15), ("archery", "-0NX1JkX_Qs", 12, 22),
        ("archery", "gone_Video2", 1200, 1210),
    ]  # fmt: skip
    table(
        root / "annotations" / "val.csv",
        [("label", "youtube_id", "time_start", "time_end", "split"), *((*row, "val") for row in rows)],
    )
    for number, (label, one, start, end) in enumerate(rows):
        if not one.startswith("gone"):
            place = root / "val" / (f"{label}/" if number % 2 else "") / f"{one}_{start:06}_{end:06}.mp4"
            clip(place, number, "libx264" if "libx264" in av.codecs_available else "mpeg4")
    return {}


EXAMPLES = {"msrvtt": msrvtt, "ucf101": ucf101, "kinetics": kinetics}
