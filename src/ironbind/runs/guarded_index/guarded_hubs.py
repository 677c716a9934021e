"""A hub attack on an index whose guard the attacker knows."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ironbind.goals.hub import Hub
from ironbind.goals.undetected_hub import HubLimits, UndetectedHub
from ironbind.index_guard.attacker import knowledge, seen, silent_score
from ironbind.index_guard.index_scan import ScanSettings, look_through
from ironbind.index_guard.stored_rows import StoredRows


def quiet(hub: Hub, gallery: Float[Tensor, "m d"]) -> UndetectedHub:
    """The hub that a scan of its gallery neither flags nor lists: the guard asks the queries that the hub is judged by,
    and the attacker knows what it lets pass. What that scan sees counts as no hub.
    """
    asked = hub.held_out[0] if hub.held_out is not None else hub.queries
    looked = look_through(_stored("gallery", gallery), _stored("queries", asked), ScanSettings())
    known = knowledge(looked, _stored("known queries", hub.queries).z, silent_score(looked))
    at = hub.queries

    def tensor(values: object) -> Tensor:
        return torch.as_tensor(values, dtype=at.dtype, device=at.device)

    limits = HubLimits(known.share, tensor(known.of_concept), known.concepts)
    concept = torch.as_tensor(known.concept, device=at.device)

    def seen_by_scan(z: Float[Tensor, "b d"]) -> Bool[Tensor, " b"]:
        return torch.from_numpy(seen(looked, _stored("items", z))).to(z.device)

    return UndetectedHub(hub, tensor(known.last), concept, limits, seen=seen_by_scan)


def _stored(name: str, z: Float[Tensor, "n d"]) -> StoredRows:
    return StoredRows(name, z.detach().cpu().float().numpy())
