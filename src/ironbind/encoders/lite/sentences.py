"""all-MiniLM-L6-v2 (BERT of six layers, Wang et al. 2020, arXiv 2002.10957) from a folder in sentence-transformers'
form: tokens, network, mean over tokens.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ironbind.encoders.shared.checkpoint import read_checkpoint, read_json
from ironbind.numerics.batching import batches, padded
from ironbind.numerics.networks import device_of
from ironbind.types import InputError

LONGEST = 256  # tokens, the two special ones included: max_seq_length of sentence_bert_config.json
AT_ONCE = 64
NOT_USED = ("embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias")


class Sentences(nn.Module):
    """Texts -> the means of their tokens' last states, unnormalised.

    Texts of one number of tokens share a batch, so that nothing is padded: a row does not depend on its neighbours.
    """

    def __init__(self, tokenizer: Any, network: Any) -> None:
        super().__init__()
        self.tokenizer, self.network = tokenizer, network

    def forward(self, tokens: Tensor) -> Float[Tensor, "n d"]:
        return self.network(input_ids=tokens).last_hidden_state.mean(1)

    @torch.no_grad()
    def of(self, texts: Sequence[str]) -> Float[Tensor, "n d"]:
        """Rows in the order of the texts, each cut to LONGEST tokens."""
        numbers = [encoded.ids for encoded in self.tokenizer.encode_batch(list(texts))]
        by_length: dict[int, list[int]] = {}
        for row, tokens in enumerate(numbers):
            by_length.setdefault(len(tokens), []).append(row)
        width = self.network.config.hidden_size
        device = device_of(self)
        out = torch.empty(len(texts), width, device=device)
        for rows in by_length.values():
            for some in batches(rows, AT_ONCE):
                out[some] = padded(self)(torch.tensor([numbers[row] for row in some], device=device))
        return out


def load_sentences(folder: Path) -> Sentences:
    """The network of a folder with config.json, model.safetensors and tokenizer.json, frozen and in evaluation mode.
    Raises InputError for a folder that is not such a one, and where transformers is missing.
    """
    try:
        from tokenizers import Tokenizer
        from transformers import BertConfig, BertModel
    except ImportError:
        raise InputError(
            "encoder 'lite' needs the transformers library for texts; expected `pip install ironbind[lite]`"
        ) from None
    settings = read_json(folder / "config.json")
    if settings.get("model_type") != "bert":
        raise InputError(
            f"{folder / 'config.json'}: model_type is {settings.get('model_type')!r}; expected 'bert', as "
            "all-MiniLM-L6-v2 has"
        )
    file = folder / "tokenizer.json"
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises bare Exceptions
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{file} cannot be read ({reason}); expected the tokenizer of all-MiniLM-L6-v2") from None
    tokenizer.no_padding()
    tokenizer.enable_truncation(LONGEST)
    tensors = read_checkpoint(folder / "model.safetensors")
    network = BertModel(BertConfig(**settings), add_pooling_layer=False)
    expected = network.state_dict()
    missing = [name for name in expected if name not in tensors]
    foreign = [name for name in tensors if name not in expected and name not in NOT_USED]
    unlike = [name for name in expected if name in tensors and tensors[name].shape != expected[name].shape]
    for kind, names in (("missing", missing), ("unexpected", foreign), ("of another shape", unlike)):
        if names:
            raise InputError(
                f"{folder / 'model.safetensors'}: {len(names)} tensors are {kind}, first {names[0]!r}; expected those "
                "of the network in config.json"
            )
    network.load_state_dict({name: tensors[name].float() for name in expected})
    return Sentences(tokenizer, network).requires_grad_(False).eval()
