"""A hub against the guard of its index, from the recipe to the verdict."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from ironbind.goals.hub import Hub
from ironbind.index_guard.index_scan import scan_index
from ironbind.recipes import AUDITS
from ironbind.recipes.illusions_and_hubs import hub_attack
from ironbind.recipes.request import AuditRequest
from ironbind.runs.extra_tasks import ExtraTask, HubSpec
from ironbind.runs.guarded_index.guarded_hubs import quiet
from ironbind.types import InputError
from planted_hubs import clean_rows, queries
from toys import Conv, ToyData


def unit(rows: np.ndarray) -> torch.Tensor:
    return normalize(torch.from_numpy(rows), dim=1)


def test_what_the_goal_lets_pass_a_scan_does_not_flag():
    gallery, asked = unit(clean_rows()), unit(queries())
    best = (asked @ gallery.T).amax(dim=1)
    goal = quiet(Hub(asked[::2], best[::2], held_out=(asked[1::2], best[1::2])), gallery)
    middle = normalize(asked.mean(dim=0), dim=0)
    assert goal.excess(middle[None])[0] > 1
    seen = scan_index(torch.cat([gallery, middle[None]]).numpy(), asked[1::2].numpy())
    assert seen.flagged == (1500,)
    z = gallery[:4].clone().requires_grad_()
    optimiser = torch.optim.Adam([z], lr=0.02)
    for _ in range(100):
        optimiser.zero_grad()
        (-goal.loss(normalize(z, dim=1))).sum().backward()
        optimiser.step()
    hubs = normalize(z, dim=1).detach()
    assert (goal.hub.loss(hubs) > goal.hub.loss(gallery[:4])).all()
    for one in hubs:
        assert scan_index(torch.cat([gallery, one[None]]).numpy(), asked[1::2].numpy()).flagged == ()


def test_what_a_scan_sees_counts_as_no_hub():
    """The verdict is that of the scan: a hub that it flags or lists has done nothing, however many queries find it."""
    gallery, asked = unit(clean_rows()), unit(queries())
    best = (asked @ gallery.T).amax(dim=1)
    goal = quiet(Hub(asked[::2], best[::2], held_out=(asked[1::2], best[1::2])), gallery)
    middle, some = normalize(asked.mean(dim=0), dim=0), normalize(asked[1:8:2] + 0.3 * asked[2], dim=1)
    items = torch.cat([middle[None], some, gallery[:6]])
    seen = []
    for one in items:
        scan = scan_index(torch.cat([gallery, one[None]]).numpy(), asked[1::2].numpy())
        seen.append(1500 in scan.flagged + scan.review)
    assert goal.hub.rank(items)[0] > 15
    assert any(seen)
    assert not all(seen)
    assert goal.rank(items).tolist() == [
        1 if by_scan else rank for by_scan, rank in zip(seen, goal.hub.rank(items).tolist(), strict=True)
    ]
    assert (goal.margin(items)[torch.tensor(seen)] <= 0).all()


def test_recipes_name_what_is_special():
    request = AuditRequest(modalities=("image",), limit=20)
    (job,) = AUDITS["undetected_hub"](request)
    assert job.extra_tasks[0].hub == HubSpec(undetected=True)
    (job,) = hub_attack(request, HubSpec(known=100, concept="cube"))
    assert replace(job.extra_tasks[0], hub=HubSpec()) == AUDITS["hub"](request)[0].extra_tasks[0]


def test_a_hub_stands_in_an_index_on_the_disk(tmp_path):
    encoder = Conv()
    rows = np.random.default_rng(0).standard_normal((40, encoder.dim)).astype(np.float32)
    np.save(tmp_path / "index.npy", rows)
    task = ExtraTask("hub", ("text",), hub=HubSpec(known=3, gallery=str(tmp_path / "index.npy"), undetected=True))
    (made,) = task.tasks(encoder, ToyData(24), "image", encoder.inputs["image"].space.name)
    assert made.name == "hub:text->image, 3 known, in index.npy, undetected"
    assert torch.allclose(made.gallery.z, unit(rows), atol=1e-6)
    np.save(tmp_path / "index.npy", rows[:, :3])
    with pytest.raises(InputError, match=r"index.npy: rows of 3 numbers; expected"):
        task.tasks(encoder, ToyData(24), "image", encoder.inputs["image"].space.name)
