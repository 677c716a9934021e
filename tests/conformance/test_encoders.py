"""Every encoder of the table, as far as its weights are here; without them, one line says what is missing."""

import pytest
import torch

from ironbind.encoders import ENCODERS, load_encoder
from ironbind.modalities import MODALITIES
from ironbind.numerics.batching import in_full_batches
from ironbind.numerics.networks import modules_of
from ironbind.types import Encoder, InputError

_loaded: dict[str, Encoder | InputError] = {}


def loaded(name: str) -> Encoder | InputError:
    if name not in _loaded:
        try:
            _loaded[name] = load_encoder(name)
        except InputError as error:
            _loaded[name] = error
    return _loaded[name]


def inputs(encoder: Encoder, modality: str, space: str, n: int = 4) -> torch.Tensor:
    where = encoder.inputs[modality].spaces[space]
    low, high = -1.0 if where.low is None else where.low, 1.0 if where.high is None else where.high
    shape = encoder.inputs[modality].shape_in(space)
    return low + (high - low) * torch.rand((n, *shape), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", ENCODERS)
def test_the_contract(name, monkeypatch):
    """All promises of `types.Encoder`; an entry whose weights are not here says so in one line and is skipped."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    found = loaded(name)
    if isinstance(found, InputError):
        assert "\n" not in str(found)
        pytest.skip(f"{name}: {str(found).partition(';')[0]}")
    for promise in (declared, frozen, unit_deterministic_independent, differentiable, spaces_agree, text):
        promise(found)


@pytest.mark.parametrize("name", ENCODERS)
def test_missing_weights_are_one_line(name, tmp_path):
    with pytest.raises(InputError) as caught:
        load_encoder(name, weights=str(tmp_path / "nowhere.safetensors"))
    assert "\n" not in str(caught.value)
    assert "nowhere.safetensors" in str(caught.value)


def declared(encoder: Encoder) -> None:
    assert isinstance(encoder, Encoder)
    assert encoder.dim > 0
    assert len(encoder.weights_sha256) == 64
    assert encoder.inputs
    for modality, spec in encoder.inputs.items():
        assert modality in MODALITIES
        assert spec.modality == modality
        assert spec.space_named(None).name in spec.spaces
        assert all(space.name == name for name, space in spec.spaces.items())


def frozen(encoder: Encoder) -> None:
    for module in modules_of(encoder):
        assert not any(one.requires_grad for one in module.parameters())
        assert not any(part.training for part in module.modules())


def unit_deterministic_independent(encoder: Encoder) -> None:
    for modality, spec in encoder.inputs.items():
        for space in spec.spaces:
            x = inputs(encoder, modality, space)
            with torch.no_grad():
                z = encoder.embed(modality, x, space=space)
                assert z.shape == (4, encoder.dim)
                assert torch.allclose(z.norm(dim=1), torch.ones(4), atol=1e-5)
                assert encoder.embed(modality, x, space=space).equal(z)
                alone = torch.cat(
                    [
                        in_full_batches(lambda one, m=modality, s=space: encoder.embed(m, one, space=s))(row[None])
                        for row in x
                    ]
                )
                assert alone.equal(z), (modality, space)


def differentiable(encoder: Encoder) -> None:
    for modality, spec in encoder.inputs.items():
        for space in spec.spaces:
            x = inputs(encoder, modality, space, 2).requires_grad_()
            z = encoder.embed(modality, x, space=space)
            (gradient,) = torch.autograd.grad((z * torch.linspace(-1, 1, encoder.dim)).sum(), x)
            assert torch.isfinite(gradient).all(), (modality, space)
            assert (gradient.flatten(1).abs().amax(dim=1) > 0).all(), (modality, space)


def spaces_agree(encoder: Encoder) -> None:
    for modality, spec in encoder.inputs.items():
        for name in spec.fronts:
            x = inputs(encoder, modality, spec.space.name, 2)
            with torch.no_grad():
                through = encoder.embed(modality, spec.convert(x, name), space=name)
                assert torch.allclose(through, encoder.embed(modality, x), atol=1e-4), (modality, name)
                assert spec.convert(x, name).shape[1:] == spec.shape_in(name)


def text(encoder: Encoder) -> None:
    z = encoder.embed_text(["a red cube", "the sound of a bell", "a red cube"])
    assert z.shape == (3, encoder.dim)
    assert torch.allclose(z.norm(dim=1), torch.ones(3), atol=1e-5)
    assert torch.allclose(z[0], z[2], atol=1e-6)
    assert not torch.allclose(z[0], z[1], atol=1e-3)
