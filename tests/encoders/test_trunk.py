"""The trunk against torch's own attention and against the written-out maths."""

import pytest
import torch
from torch import nn

from ironbind.encoders.shared.trunk import Attention, Trunk, causal_mask, quick_gelu


def fused_like(reference: nn.MultiheadAttention, attention: Attention) -> Attention:
    nn.init.normal_(reference.in_proj_bias)
    attention.qkv.load_state_dict({"weight": reference.in_proj_weight, "bias": reference.in_proj_bias})
    attention.out.load_state_dict(reference.out_proj.state_dict())
    if reference.bias_k is not None:
        attention.bias_k, attention.bias_v = reference.bias_k, reference.bias_v
    return attention


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("bias_kv", [False, True])
def test_attention_is_torchs(bias_kv, masked):
    torch.manual_seed(0)
    reference = nn.MultiheadAttention(24, 3, add_bias_kv=bias_kv, batch_first=True).double()
    attention = fused_like(reference, Attention(24, 3, bias_kv=bias_kv).double())
    x, mask = torch.randn(2, 7, 24).double(), causal_mask(7).double() if masked else None
    torch.testing.assert_close(attention(x, mask), reference(x, x, x, attn_mask=mask, need_weights=False)[0])


def test_separate_projections_are_the_fused_one_cut_in_three():
    torch.manual_seed(0)
    fused, separate = Attention(24, 3).double(), Attention(24, 3, fused=False).double()
    for part, weight, bias in zip(
        (separate.query, separate.key, separate.value), fused.qkv.weight.chunk(3), fused.qkv.bias.chunk(3), strict=True
    ):
        part.load_state_dict({"weight": weight, "bias": bias})
    separate.out = fused.out
    x = torch.randn(2, 7, 24).double()
    torch.testing.assert_close(separate(x), fused(x))


@pytest.mark.parametrize(("activation", "function"), [("gelu", nn.functional.gelu), ("quick_gelu", quick_gelu)])
def test_blocks_are_pre_norm(activation, function):
    torch.manual_seed(0)
    trunk = Trunk(16, 2, 2, mlp_width=24, eps=0.1, activation=activation).double()
    x = tokens = torch.randn(3, 5, 16).double()
    for block in trunk.blocks:
        mean, variance = x.mean(-1, keepdim=True), x.var(-1, keepdim=True, unbiased=False)
        x = x + block.attn((x - mean) / (variance + 0.1).sqrt() * block.norm_1.weight + block.norm_1.bias)
        mean, variance = x.mean(-1, keepdim=True), x.var(-1, keepdim=True, unbiased=False)
        normed = (x - mean) / (variance + 0.1).sqrt() * block.norm_2.weight + block.norm_2.bias
        x = (
            x
            + function(normed @ block.mlp.fc1.weight.T + block.mlp.fc1.bias) @ block.mlp.fc2.weight.T
            + block.mlp.fc2.bias
        )
    torch.testing.assert_close(trunk(tokens), x)


def test_temporal_modules_run_first_and_have_their_own_weights():
    torch.manual_seed(0)
    plain, trunk = Trunk(16, 2, 2).double(), Trunk(16, 2, 2, temporal=lambda: nn.Linear(16, 16)).double()
    trunk.load_state_dict(plain.state_dict(), strict=False)
    x = tokens = torch.randn(3, 5, 16).double()
    for block, own in zip(plain.blocks, trunk.blocks, strict=True):
        x = block(own.temporal(x))
    torch.testing.assert_close(trunk(tokens), x)
    assert "blocks.1.temporal.weight" in trunk.state_dict()


def test_checkpointing_changes_no_gradient():
    torch.manual_seed(0)
    trunk = Trunk(16, 3, 2, bias_kv=True)
    x = torch.randn(2, 5, 16, requires_grad=True)
    (plain,) = torch.autograd.grad(trunk(x).square().sum(), x)
    trunk.checkpointing = True
    (recomputed,) = torch.autograd.grad(trunk(x).square().sum(), x)
    assert torch.equal(plain, recomputed)


def test_names_that_ports_and_adapters_rely_on():
    leaves = {name.removeprefix("blocks.0.") for name in Trunk(16, 1, 2, bias_kv=True).state_dict()}
    common = {
        f"{part}.{kind}"
        for part in ("norm_1", "norm_2", "attn.out", "mlp.fc1", "mlp.fc2")
        for kind in ("weight", "bias")
    }
    assert leaves == common | {"attn.qkv.weight", "attn.qkv.bias", "attn.bias_k", "attn.bias_v"}
    leaves = {name.removeprefix("blocks.0.") for name in Trunk(16, 1, 2, fused=False, qkv_bias=False).state_dict()}
    assert leaves == common | {f"attn.{part}.weight" for part in ("query", "key", "value")}
