"""Data listed by several ranks, each a share: the listing and the fingerprint of one process, and its refusals. Ranks
are threads here.
"""

import io
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import PIL.Image
import pytest

from ironbind.data import list_by_ranks, listing, load_dataset
from ironbind.data.list_by_ranks import fetched_by_first, listed_by_ranks
from ironbind.data.listing import Listing
from ironbind.numerics.ranks import SingleProcess
from ironbind.types import InputError


class Threads:
    """One of `size` ranks that are threads of this process."""

    backend = "threads"

    def __init__(self, rank, size, barrier, places, dealing=False):
        self.rank, self.size, self.barrier, self.places, self.dealing = rank, size, barrier, places, dealing

    def gather(self, value):
        self.places[self.rank] = value
        self.barrier.wait(timeout=60)
        values = list(self.places)
        self.barrier.wait(timeout=60)
        return values


@pytest.fixture
def on_ranks(monkeypatch):
    """`on_ranks(size, work)`: what `work()` returns or raises on each of `size` ranks."""
    here = threading.local()
    monkeypatch.setattr(list_by_ranks.ranks, "current", lambda: getattr(here, "group", SingleProcess()))

    def run(size, work, dealing=False):
        barrier, places = threading.Barrier(size), [None] * size

        def one(rank):
            here.group = Threads(rank, size, barrier, places, dealing)
            try:
                return work()
            except InputError as error:
                return error

        with ThreadPoolExecutor(size) as pool:
            return list(pool.map(one, range(size)))

    return run


def test_the_first_rank_fetches_and_the_others_find(on_ranks, monkeypatch):
    first = threading.Event()
    monkeypatch.setattr(Threads, "from_first", lambda self, fetch: (fetch(), first.set()) if self.rank == 0
                        else first.wait(timeout=60), raising=False)  # fmt: skip
    fetched: list[int] = []

    def fetch():
        if not fetched:
            fetched.append(1)
        return len(fetched)

    assert on_ranks(3, lambda: fetched_by_first(fetch)) == [1, 1, 1]
    with_failure = on_ranks(1, lambda: fetched_by_first(lambda: (_ for _ in ()).throw(InputError("away"))))
    assert str(with_failure[0]) == "away"


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_each_item_is_listed_by_one_rank_and_known_to_all(size, on_ranks):
    asked = []

    def square(item):
        asked.append(item)
        return item * item

    found = on_ranks(size, lambda: list(listed_by_ranks(range(5), square)))
    assert found == [[0, 1, 4, 9, 16]] * size
    assert sorted(asked) == [0, 1, 2, 3, 4]


def test_a_rank_at_work_on_its_own_lists_everything_itself(on_ranks):
    assert on_ranks(2, lambda: list(listed_by_ranks(range(3), str)), dealing=True) == [["0", "1", "2"]] * 2


def test_the_first_item_in_order_that_cannot_be_listed_is_told_on_every_rank(on_ranks):
    def refuse(item):
        if item in (3, 4, 6):
            raise InputError(f"item {item}")
        return item

    found = on_ranks(3, lambda: list(listed_by_ranks(range(7), refuse)))
    assert [str(error) for error in found] == ["item 3"] * 3


def shards(folder, count):
    draw = np.random.default_rng(0)
    for shard in range(count):
        with tarfile.open(folder / f"{shard}.tar", "w") as tar:
            for number in range(3):
                picture = io.BytesIO()
                PIL.Image.fromarray(draw.integers(0, 256, (8, 8, 3), np.uint8)).save(picture, "PNG")
                for kind, content in (("png", picture.getvalue()), ("cls", str(number % 2).encode())):
                    member = tarfile.TarInfo(f"{shard}{number}.{kind}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
    (folder / "classnames.txt").write_text("star\nring\n", encoding="utf-8")


def rows(folder):
    """A parquet shard a file, in row groups of two."""
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    for shard in range(3):
        picture = io.BytesIO()
        PIL.Image.fromarray(np.full((8, 8, 3), shard, np.uint8)).save(picture, "PNG")
        table = pyarrow.table(
            {
                "image": [{"bytes": picture.getvalue(), "path": None}] * 5,
                "caption": [f"picture {shard} {row}" for row in range(5)],
            }
        )
        parquet.write_table(table, folder / f"test-{shard:05d}-of-00003.parquet", row_group_size=2)


@pytest.mark.parametrize(("layout", "write"), [("webdataset", lambda folder: shards(folder, 5)), ("hf_datasets", rows)])
@pytest.mark.parametrize("size", [2, 4])
def test_ranks_list_and_fingerprint_what_one_process_does(layout, write, size, on_ranks, tmp_path, monkeypatch):
    write(tmp_path)
    monkeypatch.setattr(listing, "BLOCK", 4)
    monkeypatch.setattr(list_by_ranks, "AT_A_TIME", 1)  # several rounds

    def listed():
        data = load_dataset(layout, tmp_path)
        (source,) = data.sources.values()
        # not the cached value: Python 3.11 holds one lock while any thread computes it
        fingerprint = Listing.__dict__["fingerprint"].func(data)
        return list(data.ids), list(data.labels), data.captions, data.notes, list(source.members), fingerprint

    wanted = listed()
    assert len(wanted[0]) == 15
    assert on_ranks(size, listed) == [wanted] * size


def test_a_damaged_shard_is_one_line_on_every_rank(on_ranks, tmp_path):
    shards(tmp_path, 4)
    whole = (tmp_path / "2.tar").read_bytes()
    (tmp_path / "2.tar").write_bytes(whole[:700])
    with pytest.raises(InputError) as alone:
        load_dataset("webdataset", tmp_path)
    found = on_ranks(3, lambda: load_dataset("webdataset", tmp_path))
    assert [str(error) for error in found] == [str(alone.value)] * 3
