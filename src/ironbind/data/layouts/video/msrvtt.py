"""MSR-VTT: `MSRVTT_data.json` (or the challenge's *_videodatainfo.json), videos as `video7020.mp4`; captions, and one
of 20 categories each.

Classification is by category. Retrieval is usually reported on "1k-a": the 1000 videos of MSRVTT_JSFUSION_test.csv, one
caption each.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from ironbind.data.layout import Layout
from ironbind.data.list_files import first_of, json_of, read_lines, read_table, root_of, whole_number
from ironbind.data.listing import UNLABELLED, Listing
from ironbind.data.names.class_names import class_names
from ironbind.data.storage.files import Files
from ironbind.modalities import MODALITIES
from ironbind.types import InputError

INFORMATION = {
    "train": "train_val_videodatainfo.json",
    "validate": "train_val_videodatainfo.json",
    "test": "test_videodatainfo.json",
}
ALL, RETRIEVAL = "MSRVTT_data.json", "MSRVTT_JSFUSION_test.csv"
WITHIN = ("", "annotation", "annotations", "msrvtt_data")  # where the lists are kept in copies of the set
VIDEOS = ("MSRVTT_Videos", "MSRVTT_Videos/video", "videos", "videos/all", "TrainValVideo", "TestVideo", "video")
CATEGORIES = class_names("msrvtt")
EXPECTED = f"{ALL} and MSRVTT_Videos/video<number>.mp4, for 1k-a also {RETRIEVAL}"


def load(
    path: str | Path | None,
    *,
    split: str = "test",
) -> Listing:
    """`split` of the MSR-VTT in `path`: "test" (2990 videos), "train", "validate", with all 20 captions of each; "1k-a"
    (1000, one caption each).

    Classes are the categories,
    the challenge's 20 or those of a category.txt. "1k-a" without MSRVTT_data.json has
    none. Raises InputError.
    """
    root = root_of(path, "msrvtt", EXPECTED)
    if split not in (*INFORMATION, "1k-a"):
        raise InputError(f"split {split!r} of msrvtt is not known; expected one of {', '.join(INFORMATION)}, 1k-a")
    if split == "1k-a":
        listed = _within(root, RETRIEVAL)
        if listed is None:
            raise InputError(f"{root}: has no {RETRIEVAL}; expected {EXPECTED}")
        rows = read_table(listed, ("video_id", "sentence"), "columns video_id, sentence (and key, vid_key)")
        captions: dict[str, tuple[str, ...]] = {video: (sentence,) for video, sentence in rows}
        information = _within(root, ALL) or _within(root, INFORMATION["test"])
        category = _read(information)[0] if information else None
        unknown = next((video for video in captions if category is not None and video not in category), None)
        if unknown is not None:
            raise InputError(
                f"{listed}: lists {unknown}, which {information} does not; expected videos of the test split"
            )
        videos = list(captions)
    else:
        information = _within(root, ALL) or _within(root, INFORMATION[split])
        if information is None:
            raise InputError(f"{root}: has no {ALL} or {INFORMATION[split]}; expected {EXPECTED}")
        listed = information
        category, told, splits = _read(listed)
        videos = [video for video in category if splits[video] == split]
        if not videos:
            raise InputError(
                f"{listed}: has no video of the split {split!r}; "
                f"expected some, it has {', '.join(sorted(set(splits.values())))}"
            )
        mute = next((video for video in videos if not told.get(video)), None)
        if mute is not None:
            raise InputError(f"{listed}: has no caption of {mute}; expected at least one for each video")
        captions = {video: tuple(told[video]) for video in videos}
    names = _categories(root) if category is not None else UNLABELLED
    labels = [category[video] for video in videos] if category is not None else [0] * len(videos)
    wrong = next((video for video, label in zip(videos, labels, strict=True) if not 0 <= label < len(names)), None)
    if wrong is not None:
        raise InputError(
            f"{listed}: {wrong} has the category {labels[videos.index(wrong)]}; expected 0 to {len(names) - 1}"
        )
    place = first_of(
        root, [folder for folder in VIDEOS if any((root / folder).glob("video*.mp4"))] or VIDEOS[:1], EXPECTED
    )
    sources = {"video": Files(place, [f"{video}.mp4" for video in videos], MODALITIES["video"].read)}
    listing = Listing(
        "msrvtt", names, videos, labels, sources, [captions[video] for video in videos], notes=(f"split {split}",)
    )
    return replace(listing, listed=listed.name)


def recognise(path: Path) -> str | None:
    """One of its lists."""
    for name in (ALL, RETRIEVAL, *INFORMATION.values()):
        listed = _within(path, name)
        if listed:
            return f"it holds {listed.relative_to(path).as_posix()}"
    return None


def _within(root: Path, name: str) -> Path | None:
    return next((root / folder / name for folder in WITHIN if (root / folder / name).is_file()), None)


def _read(path: Path) -> tuple[dict[str, int], dict[str, list[str]], dict[str, str]]:
    """Category, captions and split of each video, in the file's order."""
    expected = "videos (video_id, category, split) and sentences (video_id, caption)"
    held: Any = json_of(path, expected)
    try:
        category = {str(video["video_id"]): int(video["category"]) for video in held["videos"]}
        splits = {str(video["video_id"]): str(video["split"]) for video in held["videos"]}
        captions: dict[str, list[str]] = {}
        for sentence in held["sentences"]:
            captions.setdefault(str(sentence["video_id"]), []).append(str(sentence["caption"]).strip())
    except (KeyError, TypeError, ValueError, OverflowError) as error:  # the last: int() of an infinite number
        what = f"lacks {error}" if isinstance(error, KeyError) else " ".join(str(error).split())[:100]
        raise InputError(f"{path}: {what}; expected {expected}") from error
    return category, captions, splits


def _categories(root: Path) -> tuple[str, ...]:
    path = _within(root, "category.txt")
    if path is None:
        return CATEGORIES
    expected = "lines of a category, a tab and its number: music 0"
    rows = [line.rpartition("\t" if "\t" in line else " ") for line in read_lines(path, expected)]
    names = {whole_number(number, path, "number", len(rows)): name.strip() for name, _, number in rows}
    if len(set(names.values())) < len(rows):
        raise InputError(f"{path}: has a category or a number twice; expected {expected}")
    return tuple(names[label] for label in range(len(rows)))


LAYOUT = Layout(load, recognise)
