"""Data sets by name: streamed by the `datasets` library itself from a folder that it takes for a repository, kept,
resumed, read again without it.
"""

import json
import shutil
import sys

import pytest

datasets = pytest.importorskip("datasets", reason="the extra hub is not installed")

from command_line import ironbind  # noqa: E402
from ironbind.data import likeliest, load_dataset  # noqa: E402
from ironbind.data.hubs import hub_files  # noqa: E402
from ironbind.data.hubs.hub_files import FILE, HubName, hub_name  # noqa: E402
from ironbind.types import InputError  # noqa: E402
from layouts.tiny_archives import FEATURES, parquet, rows  # noqa: E402
from layouts.tiny_pictures import encoded  # noqa: E402

SHAPES = {**FEATURES, "label": {"names": ["ball", "cube"], "_type": "ClassLabel"}}


@pytest.fixture(autouse=True)
def repository(tmp_path, monkeypatch):
    """The folder owner/pets, which `datasets` finds before it asks the Hub; files of four rows; an empty cache."""
    root = tmp_path / "owner" / "pets"
    for number in range(2):
        parquet(root / "data" / f"test-{number:05d}-of-00002.parquet", rows(5, 5 * number, SHAPES))
    parquet(root / "data" / "train-00000-of-00001.parquet", rows(3, 50, SHAPES))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IRONBIND_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(hub_files, "ROWS_IN_A_FILE", 4)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    return root


def hub(name, **options):
    return load_dataset("hub", name, **options)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("hf:owner/pets", HubName("owner/pets")),
        ("hf:owner/pets:de", HubName("owner/pets", "de")),
        ("hf:owner/p.e-t_s/train", HubName("owner/p.e-t_s", None, "train")),
        ("hf:owner/pets:de-1/test", HubName("owner/pets", "de-1", "test")),
    ],
)
def test_names(written, name):
    assert hub_name(written) == name
    assert str(name) == written
    assert likeliest(written) == "hub"


@pytest.mark.parametrize("written", ["hf:pets", "hf:", "hf:o/pets:", "hf:o/pets/", "hf:../up", "hf:o/pets:a:b"])
def test_what_is_no_name(written):
    with pytest.raises(InputError, match="expected hf:owner/name"):
        hub(written)


def test_a_split_is_streamed_once_and_read_without_datasets(monkeypatch):
    data = hub("hf:owner/pets")
    assert (data.name, data.classes, list(data.labels)) == ("owner/pets", ("ball", "cube"), [0, 1] * 5)
    assert list(data.ids)[:2] == ["test/0", "test/1"]
    assert data.captions[7] == "animal no 7"
    assert data.notes[0] == "hf:owner/pets: split test"
    direct = load_dataset("hf_datasets", "owner/pets")
    assert [data.sources["image"].digest(row) for row in range(10)] == [
        direct.sources["image"].digest(row) for row in range(10)
    ]
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert hub("hf:owner/pets").fingerprint == data.fingerprint
    with pytest.raises(InputError, match=r"needs datasets .* pip install 'ironbind\[hub\]'"):
        hub("hf:owner/pets/train")


def test_a_stopped_fetch_goes_on_where_it_was(monkeypatch):
    whole = hub("hf:owner/pets/test")
    own, written = hub_files.write_rows, []

    def stop_after_one(path, samples, *more):
        if written:
            raise ConnectionError("the line is dead")
        written.append(path)
        return own(path, samples, *more)

    monkeypatch.setenv("IRONBIND_CACHE", str(HubName("a/b").folder.parents[1].with_name("second")))
    with monkeypatch.context() as patched:
        patched.setattr(hub_files, "write_rows", stop_after_one)
        with pytest.raises(InputError, match=r"the line is dead\); 4 rows are kept, and the same command goes on"):
            hub("hf:owner/pets/test")
    kept = written[0]
    before = kept.stat().st_mtime_ns
    data = hub("hf:owner/pets/test")
    assert kept.stat().st_mtime_ns == before, "what was fetched is not fetched again"
    assert data.fingerprint.__class__ is str
    assert [data.sources["image"].digest(row) for row in range(10)] == [
        whole.sources["image"].digest(row) for row in range(10)
    ]


def test_the_first_rows_alone(tmp_path):
    data = hub("hf:owner/pets/test", rows=6)
    assert (len(data), data.notes[-1]) == (6, "the first 6 rows")
    (record,) = (tmp_path / "cache").rglob(FILE)
    assert (json.loads(record.read_text(encoding="utf-8"))["rows"], len(hub(record.parent, rows=5))) == (6, 5)
    with pytest.raises(InputError, match="its fetch was stopped after 6 rows; expected all of them, or rows=6"):
        hub(record.parent)
    assert len(hub("hf:owner/pets/test")) == 10
    assert hub("hf:owner/pets/test", rows=6).ids[5] == "test/5"


def test_files_that_are_only_named_are_fetched_too(tmp_path):
    for kind in ("ball", "cube"):
        for number in range(2):
            file = tmp_path / "owner" / "folders" / "test" / kind / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(encoded("png", number))
    data = hub("hf:owner/folders")
    assert (len(data), data.classes) == (4, ("ball", "cube"))
    shutil.rmtree(tmp_path / "owner" / "folders")
    assert hub("hf:owner/folders").decode("image", [3])[0].pixels.shape == (12, 16, 3)


def test_several_splits_are_named(repository):
    for file in (repository / "data").glob("test-*"):
        file.rename(file.with_name(file.name.replace("test", "validation")))
    with pytest.raises(InputError, match=r"has the splits train, validation; expected hf:owner/pets/train or another"):
        hub("hf:owner/pets")


def test_without_a_network_one_line(capfd):
    with pytest.raises(
        InputError, match=r"hf:no/where: cannot be fetched \(.*; expected a network and the name of"
    ) as told:
        hub("hf:no/where")
    assert "\n" not in str(told.value)


def test_the_command(tmp_path):
    quick = ("--steps", "1", "--eps", "4/255", "--space", "pixels")
    done = ironbind("audit", "data", "--data", "hf:owner/pets/train", *quick, "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert "owner/pets" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
