"""Data sets of the Hugging Face Hub, streamed through the `datasets` library and kept in the cache as they came: what
was fetched is not fetched again, and a fetch that was stopped goes on where it was.

Needs datasets: `pip install 'ironbind[hub]'`. What is complete is read without it and without a network.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from ironbind.core.results import write_atomically
from ironbind.data.hubs.cached_samples import ROWS, undecoded, write_rows
from ironbind.data.list_files import json_of
from ironbind.numerics.content_cache import cache_folder, content_key
from ironbind.types import InputError

PREFIX = "hf:"
NAME = re.compile(r"hf:(?P<repository>\w[\w.-]*/\w[\w.-]*?)(?::(?P<config>[^/:]+))?(?:/(?P<split>[\w.\[\]:%-]+))?")
FILE = "fetched.json"
FORMAT = "ironbind fetched 1"
ROWS_IN_A_FILE = 8 * ROWS  # the most that a stopped fetch loses
EXPECTED = "hf:owner/name, hf:owner/name:config, hf:owner/name/split or hf:owner/name:config/split"


@dataclass(frozen=True)
class HubName:
    """A split of a data set of the Hub; `config` and `split` may be left out where there is only one."""

    repository: str
    config: str | None = None
    split: str | None = None

    def __str__(self) -> str:
        config, split = f":{self.config}" if self.config else "", f"/{self.split}" if self.split else ""
        return f"{PREFIX}{self.repository}{config}{split}"

    @property
    def folder(self) -> Path:
        """Where it lies in the cache."""
        readable = re.sub(r"[^\w.-]+", "-", str(self).removeprefix(PREFIX))
        return cache_folder() / "hub" / f"{readable}-{content_key(str(self), length=8)}"


@dataclass(frozen=True)
class Fetched:
    """What is kept of a data set: `files`, in order, with so many rows together; `split` and `revision` as they were
    when the fetch began; `complete`: the stream ended. `position`: where the stream goes on.
    """

    name: str
    split: str
    revision: str
    files: tuple[str, ...]
    rows: int
    complete: bool
    position: Any = None

    def write(self, folder: Path) -> None:
        """Into the folder, at once or not at all."""
        write_atomically(folder / FILE, json.dumps({"format": FORMAT, **vars(self)}))


def hub_name(written: str) -> HubName:
    """`written` taken apart. Raises InputError."""
    fitting = NAME.fullmatch(written)
    if fitting is None:
        raise InputError(f"{written}: names no data set of the Hub; expected {EXPECTED}")
    return HubName(**fitting.groupdict())


def read_fetched(folder: Path) -> Fetched | None:
    """What the folder keeps; None where nothing is. Raises InputError for a damaged record."""
    path = folder / FILE
    if not path.is_file():
        return None
    expected = f"what ironbind keeps of a fetched data set ({FORMAT})"
    fields = json_of(path, expected)
    try:
        if fields.pop("format") != FORMAT:
            raise KeyError("format")
        files = tuple(str(file) for file in fields.pop("files"))
        kept = Fetched(**{**fields, "files": files, "name": str(fields["name"]), "rows": int(fields["rows"])})
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise InputError(f"{path}: cannot be used ({error!r:.80}); expected {expected}") from error
    if any("/" in file or "\\" in file for file in files):
        raise InputError(f"{path}: names files elsewhere; expected {expected}")
    return kept


def fetch(name: HubName, rows: int | None = None) -> Path:
    """The folder with the data set's first `rows` (None: all), fetched now as far as they are not there. Raises
    InputError without `datasets`, for a data set that does not exist, and without a network.
    """
    folder = name.folder
    kept = read_fetched(folder)
    if kept is not None and (kept.complete or (rows is not None and rows <= kept.rows)):
        return folder
    try:
        import datasets
    except ImportError as error:
        raise InputError(
            f"{name}: needs datasets ({error}); expected it installed: pip install 'ironbind[hub]'"
        ) from None
    try:
        kept = kept or Fetched(str(name), _split(datasets, name), _revision(name), (), 0, False)
        _stream(datasets, name, kept, folder, rows)
    except InputError:
        raise
    except Exception as error:  # whatever the hub, the connection, a loading script or a decoder throws
        told = " ".join(str(error).split())[:160]
        done = read_fetched(folder)
        goes_on = f"; {done.rows} rows are kept, and the same command goes on from there" if done and done.rows else ""
        raise InputError(
            f"{name}: cannot be fetched ({type(error).__name__}: {told}){goes_on}; expected a network and the name of "
            "a public data set"
        ) from error
    return folder


def _split(datasets: Any, name: HubName) -> str:
    """The split that is meant: the one named, "test", or the only one. Raises InputError for several."""
    if name.split:
        return name.split
    splits = list(datasets.load_dataset(name.repository, name.config, streaming=True))
    chosen = "test" if "test" in splits else splits[0] if len(splits) == 1 else None
    if chosen is None:
        raise InputError(f"{name}: has the splits {', '.join(splits)}; expected {name}/{splits[0]} or another of them")
    return str(chosen)


def _revision(name: HubName) -> str:
    """The commit of the data set now, so that a fetch goes on with the same data; "" for a folder on this machine."""
    if Path(name.repository).is_dir():
        return ""
    with suppress(Exception):
        from huggingface_hub import HfApi

        return str(HfApi().dataset_info(name.repository).sha or "")
    return ""


def _stream(datasets: Any, name: HubName, kept: Fetched, folder: Path, rows: int | None) -> None:
    options = {"revision": kept.revision} if kept.revision else {}
    stream = datasets.load_dataset(name.repository, name.config, split=kept.split, streaming=True, **options)
    if stream.features is None:
        stream = stream._resolve_features()
    for column in list(stream.features):
        stream = undecoded(stream, column)
    schema = stream.features.arrow_schema
    files = [column for column, feature in stream.features.items() if hasattr(feature, "decode")]
    columns = dict(zip(schema.names, schema.types, strict=True))
    about = {key.decode(): value.decode() for key, value in (schema.metadata or {}).items()}
    if kept.position is not None:
        stream.load_state_dict(kept.position)
    samples = (_with_bytes(sample, files) for sample in stream)
    while rows is None or kept.rows < rows:
        most = ROWS_IN_A_FILE if rows is None else min(ROWS_IN_A_FILE, rows - kept.rows)
        file = f"{len(kept.files):05d}.rows"
        count = write_rows(folder / file, islice(samples, most), columns, about)
        ended = count < most
        if count:
            kept = Fetched(kept.name, kept.split, kept.revision, (*kept.files, file), kept.rows + count, ended,
                           stream.state_dict())  # fmt: skip
        else:
            (folder / file).unlink()
            kept = Fetched(kept.name, kept.split, kept.revision, kept.files, kept.rows, True)
        further = read_fetched(folder)
        if further is None or further.rows <= kept.rows:  # another process may be ahead, with the same files
            kept.write(folder)
        if ended:
            return


def _with_bytes(sample: dict[str, Any], columns: Sequence[str]) -> dict[str, Any]:
    """A row whose files are read where they were only named, on the Hub or in an archive there."""
    from datasets.utils.file_utils import xopen

    for column in columns:
        value = sample[column]
        if isinstance(value, Mapping) and value.get("bytes") is None and value.get("path"):
            with xopen(value["path"], "rb") as file:
                sample = {**sample, column: {"bytes": file.read(), "path": value["path"].rpartition("/")[2]}}
    return sample


def shards_of(folder: Path, kept: Fetched) -> Iterator[Path]:
    """The files of a fetched data set, in order. Raises InputError for one that is gone."""
    for file in kept.files:
        if not (folder / file).is_file():
            raise InputError(f"{folder / file}: is gone; expected what {FILE} lists: delete {folder} to fetch it again")
        yield folder / file
