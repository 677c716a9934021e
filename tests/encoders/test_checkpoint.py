"""Checkpoint files: what loads, what is refused with which words, and what it costs."""

import gc
import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from ironbind.encoders.shared import checkpoint
from ironbind.encoders.shared.official_weights import WEIGHTS
from ironbind.types import InputError

OFFICIAL = WEIGHTS["imagebind-huge"]


def official_name(own: str) -> str:
    return f"net.{own}"


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {official_name(name): value for name, value in network().state_dict().items()}


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 4), nn.BatchNorm1d(4))


def saved(state, path: Path) -> Path:
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=path.stem != "legacy")
    return path


@pytest.mark.parametrize("name", ["a.pth", "a.bin", "legacy.pt", "a.safetensors"])
def test_a_meta_model_takes_over_a_file(state, tmp_path, name):
    path = saved(state, tmp_path / name)
    with torch.device("meta"):
        model = network()
    tensors = checkpoint.read_checkpoint(path)
    checkpoint.check_names(path, tensors, checkpoint.shapes(model, official_name), OFFICIAL)
    checkpoint.assign(model, tensors, official_name)
    for own, value in model.state_dict().items():
        assert torch.equal(value, state[official_name(own)])
    assert not model.training
    assert not any(one.requires_grad for one in model.parameters())


def test_wrappers_of_training_scripts_are_taken_off(state, tmp_path):
    prefixed = {f"module.{name}": value for name, value in state.items()}
    for key in checkpoint.NESTED:
        tensors = checkpoint.read_checkpoint(saved({"epoch": 3, key: prefixed}, tmp_path / "a.pt"))
        assert tensors.keys() == state.keys()
    assert checkpoint.read_checkpoint(saved(prefixed, tmp_path / "a.safetensors")).keys() == state.keys()


@pytest.mark.parametrize(("written", "called"), [("a.safetensors", "a.pth"), ("a.pth", "a.safetensors")])
def test_the_content_says_what_a_file_is(state, tmp_path, written, called):
    path = saved(state, tmp_path / written).rename(tmp_path / called)
    tensors = checkpoint.read_checkpoint(path)
    assert all(torch.equal(tensors[name], value) for name, value in state.items())
    path.write_bytes(path.read_bytes()[:-9])
    refused(path, "truncated or corrupt")


@pytest.mark.parametrize("name", ["a.pth", "legacy.pt", "a.safetensors"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
def test_a_truncated_file_is_one_line(state, tmp_path, name, share):
    path = saved(state, tmp_path / name)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    refused(path, "truncated or corrupt")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is an empty file"),
        (b"\n <!DOCTYPE html><html>Google Drive: quota exceeded</html>", "it is a web page"),
        (b"<html>Sign in</html>", "it is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 48\n", "it is a git-lfs pointer"),
        (b"hello, this is text", "truncated or corrupt"),
        (bytes(range(256)), "truncated or corrupt"),
    ],
)
@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
def test_what_is_no_checkpoint_is_one_line(tmp_path, name, content, said):
    path = tmp_path / name
    path.write_bytes(content)
    refused(path, said)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"epoch": 3, "optimizer": {}}, "holds no state dict but epoch: int, optimizer: dict"),
        ([torch.zeros(1)], "holds no state dict but a list"),
    ],
)
def test_what_a_file_holds_instead_is_said(tmp_path, content, said):
    refused(saved(content, tmp_path / "a.pth"), said)


def test_code_in_a_file_never_runs(tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    path = tmp_path / "a.pth"
    torch.save({"net.0.weight": Trap()}, path)
    refused(path, "other objects than tensors")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("content", [[torch.zeros(1)], {}, {"epoch": 3}])
def test_a_file_without_a_state_dict_is_refused(tmp_path, content):
    path = tmp_path / "a.pth"
    torch.save(content, path)
    refused(path, "holds no state dict")


def refused(path: Path, words: str) -> None:
    with pytest.raises(InputError) as refusal:
        checkpoint.read_checkpoint(path)
    line = str(refusal.value)
    assert str(path) in line
    assert words in line
    assert "expected" in line
    assert "\n" not in line


def test_foreign_names_and_shapes_are_named(state, tmp_path):
    expected = checkpoint.shapes(network(), official_name)
    path = tmp_path / "a.pth"

    def message(tensors) -> str:
        with pytest.raises(InputError) as refusal:
            checkpoint.check_names(path, tensors, expected, OFFICIAL)
        assert OFFICIAL.source in str(refusal.value)
        return str(refusal.value)

    fewer = {name: value for name, value in state.items() if not name.startswith("net.0")}
    assert "2 missing, first 'net.0.weight'; expected" in message(fewer)
    assert "1 missing, first 'net.0.weight'; 1 unexpected, first 'net.0.w'; expected" in message(
        {"net.0.w" if name == "net.0.weight" else name: value for name, value in state.items()}
    )
    assert "net.0.weight has shape [4, 9], not [4, 8]" in message({**state, "net.0.weight": torch.zeros(4, 9)})
    checkpoint.check_names(path, state, expected, OFFICIAL)


def test_a_missing_file_says_where_to_get_it(tmp_path):
    for weights in (None, tmp_path / "nowhere.pth", tmp_path):
        with pytest.raises(InputError) as refusal:
            checkpoint.require_file(weights, OFFICIAL)
        assert OFFICIAL.source in str(refusal.value)
        assert "non-commercial" in str(refusal.value)


def test_the_rule_depends_on_official_names_only():
    model = network()
    state = checkpoint.rule_weights(model, official_name)
    expected = 0.02 * torch.randn(4, 8, generator=torch.Generator().manual_seed(2196036238))  # crc32("net.0.weight")
    assert torch.equal(state["net.0.weight"], expected)
    assert 0.9 < state["net.1.weight"].mean() < 1.1
    assert 0.9 < state["net.1.running_var"].mean() < 1.1
    assert abs(state["net.1.bias"].mean()) < 0.1
    assert state["net.1.num_batches_tracked"] == 0
    assert torch.equal(checkpoint.rule_weights(model, official_name, keep=["net.0.bias"])["net.0.bias"], model[0].bias)


def test_hash_is_that_of_the_file(state, tmp_path):
    path = saved(state, tmp_path / "a.pth")
    assert checkpoint.file_sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_licence_and_citation_are_said_once(capsys):
    checkpoint.announce.cache_clear()
    checkpoint.announce("imagebind-huge")
    checkpoint.announce("imagebind-huge")
    said = capsys.readouterr().err
    assert said.count("CC BY-NC-SA 4.0") == 1
    assert said.count("arXiv:2305.05665") == 1


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads Linux's memory counters")
@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
def test_tensors_that_are_not_used_cost_no_memory(tmp_path, name):
    path = saved({"used": torch.ones(2**18), "unused": torch.ones(2**25)}, tmp_path / name)  # 1 MiB and 128 MiB
    gc.collect()

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    before = resident()
    tensors = checkpoint.read_checkpoint(path)
    assert tensors["used"].sum() == 2**18
    assert resident() - before < 32 * 2**20
