"""The one loop: known optima, best iterates, who leaves the batch, what is counted, what is refused."""

import pytest
import torch

from ironbind.attacks import APGD, FGSM, PGD
from ironbind.attacks.engine import ascend
from ironbind.evaluate.tasks.zero_shot import retrieval, zero_shot
from ironbind.goals.misclassify import Misclassify
from ironbind.modalities.spaces import PIXELS, WAVEFORM
from ironbind.numerics.norms import BrokenPostCondition, project
from ironbind.types import L2, ClassCenters, InputError, Linf, Space
from toys import Brightness, Constant, Conv, Counting, Linear, NotANumber, Scorer, ToyData, Transformer, rng, state_hash

FREE = Space("free", "anything")
BOX = Space("box", "anything", 0.0, 1.0)
TASKS = {
    "linear": lambda: zero_shot(Linear(), ToyData(16), "image"),
    "conv": lambda: zero_shot(Conv(), ToyData(16), "image"),
    "mel": lambda: zero_shot(Conv(), ToyData(16), "audio", space="logmel"),
    "trunk": lambda: zero_shot(Transformer(), ToyData(16), "image"),
    "query": lambda: retrieval(Conv(), ToyData(16), "image"),
    "item": lambda: retrieval(Conv(), ToyData(16), "image", of="text"),
}


def attacked(task, attack, budget, indices=None, seed=0):
    indices = list(range(len(task))) if indices is None else indices
    return attack(
        task.embed,
        task.load(indices),
        task.goal(indices),
        task.space,
        budget,
        rng(len(task), seed)[torch.tensor(indices)],
    )


# -------------------------------------------------------------------------------------------------- known optima


@pytest.mark.parametrize("attack", [PGD(steps=40), PGD(steps=40, random_start=False), APGD(steps=60), FGSM()], ids=str)
@pytest.mark.parametrize("space", [FREE, BOX], ids=lambda space: space.name)
def test_a_linear_function_reaches_its_optimum_in_linf(attack, space):
    torch.manual_seed(0)
    x, w = torch.rand(6, 12), torch.randn(6, 12)
    best = x + 0.3 * w.sign()
    best = best.clamp(0, 1) if space is BOX else best
    found = attack(lambda x: x, x, Scorer(w), space, Linf(0.3), rng(6))
    assert torch.allclose(found.x, best, atol=1e-6)
    assert torch.allclose(found.loss, (w * best).sum(dim=1), atol=1e-5)


@pytest.mark.parametrize("attack", [PGD(steps=60, step_size=0.5), APGD(steps=60), FGSM()], ids=str)
def test_a_linear_function_reaches_its_optimum_in_l2(attack):
    torch.manual_seed(0)
    x, w = torch.rand(6, 12), torch.randn(6, 12)
    found = attack(lambda x: x, x, Scorer(w), FREE, L2(0.5), rng(6))
    optimum = (w * x).sum(dim=1) + 0.5 * w.norm(dim=1)
    assert (optimum - found.loss).max() < 1e-3 * optimum.abs().max()
    assert (optimum - found.loss).min() > -1e-5
    if isinstance(attack, FGSM):
        assert torch.allclose(found.x, x + 0.5 * w / w.norm(dim=1, keepdim=True), atol=1e-6)


def test_what_cannot_fall_does_not_and_what_can_does():
    """Provably: brightness is all this encoder sees, and a budget moves it by exactly eps. Robust accuracy has a closed
    form.
    """
    encoder = Brightness(turn=2.0)
    brightness = torch.linspace(0.05, 0.95, 91)
    x = brightness[:, None, None, None].expand(91, 3, 8, 8).clone()
    angles = 2.0 * torch.tensor([0.25, 0.75])
    rows = torch.cat([angles.cos()[:, None], angles.sin()[:, None], torch.zeros(2, 14)], dim=1)
    label = (brightness > 0.5).long()
    goal = Misclassify(ClassCenters(rows, torch.arange(2), ("dark", "bright")), label)
    eps = 0.1015
    for attack in (PGD(steps=10), FGSM(), APGD(steps=10)):
        found = attack(lambda x: encoder.embed("image", x), x, goal, PIXELS, Linf(eps), rng(91))
        assert found.reached.equal((brightness - 0.5).abs() < eps)


# ------------------------------------------------------------------------------------------- against a bare loop


def bare_pgd(embed, x, goal, space, budget, start, steps, share):
    """Madry's algorithm by hand."""
    current = start.clone()
    best, best_loss = x.clone(), torch.full((len(x),), -torch.inf)
    for t in range(steps + 1):
        current.requires_grad_(True)
        loss = goal.loss(embed(current))
        better = loss.detach() > best_loss
        best[better], best_loss[better] = current.detach()[better], loss.detach()[better]
        if t == steps:
            break
        (gradient,) = torch.autograd.grad(loss.sum(), current)
        with torch.no_grad():
            if budget.norm == "linf":
                current = current + share * budget.radius * gradient.sign()
                current = torch.maximum(torch.minimum(current, x + budget.radius), x - budget.radius)
            else:
                current = (
                    current + share * budget.radius * gradient / gradient.flatten(1).norm(dim=1)[:, None, None, None]
                )
                delta = current - x
                norm = delta.flatten(1).norm(dim=1)[:, None, None, None]
                current = torch.where(norm > budget.radius, x + delta * budget.radius / norm, current)
            current = current.clamp(space.low, space.high)
    return best, best_loss


@pytest.mark.parametrize("budget", [Linf("4/255"), L2(0.4)], ids=str)
@pytest.mark.parametrize("which", ["linear", "conv", "mel", "trunk"])
def test_the_engine_is_the_bare_loop(which, budget):
    task = TASKS[which]()
    everyone = list(range(16))
    x, goal = task.load(everyone), task.goal(everyone)
    start = project(x + 0.01 * torch.sign(torch.sin(37 * x)), x, task.space, budget)
    expected, losses = bare_pgd(task.embed, x, goal, task.space, budget, start, 8, 0.25)

    def step(now):
        direction = (
            now.gradient.sign()
            if budget.norm == "linf"
            else now.gradient / now.gradient.flatten(1).norm(dim=1)[:, None, None, None]
        )
        return now.current + 0.25 * budget.radius * direction

    found = ascend(task.embed, x, goal, task.space, budget, start=start, step=step, steps=8, stop_when_reached=False)
    reached = goal.reached(task.embed(expected))
    assert torch.allclose(found.x, expected, atol=1e-6)
    assert torch.allclose(found.loss, losses, atol=1e-6)
    assert found.reached.equal(reached)
    whole = PGD(steps=8, step_size=0.25, random_start=False, stop_when_reached=False)(
        task.embed, x, goal, task.space, budget, rng(16)
    )
    expected, losses = bare_pgd(task.embed, x, goal, task.space, budget, x, 8, 0.25)
    assert torch.allclose(whole.x, expected, atol=1e-6)
    assert torch.allclose(whole.loss, losses, atol=1e-6)


def test_fgsm_is_one_step():
    task = TASKS["conv"]()
    x, goal = task.load(range(16)), task.goal(range(16))
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(goal.loss(task.embed(x)).sum(), x)
    x.requires_grad_(False)
    expected = (x + 4 / 255 * gradient.sign()).clamp(0, 1)
    found = FGSM()(task.embed, x, goal, task.space, Linf("4/255"), rng(16))
    stepped = goal.loss(task.embed(expected)) > goal.loss(task.embed(x))
    assert stepped.sum() >= 14
    assert found.x[stepped].equal(expected[stepped])
    assert found.gradient_passes.tolist() == [1] * 16


# ------------------------------------------------------------------------------------ independence of the batch


@pytest.mark.bits
@pytest.mark.parametrize("which", TASKS)
@pytest.mark.parametrize(
    ("attack", "budget"),
    [
        (PGD(steps=5), Linf("4/255")),
        (PGD(steps=5, restarts=2, loss="ce"), L2(0.15)),
        (PGD(steps=4, loss="cosine", stop_when_reached=False), L2(0.15)),
        (APGD(steps=6, loss="dlr"), Linf("2/255")),
    ],
    ids=str,
)
def test_batch_size_and_order_change_no_bit(which, attack, budget):
    task = TASKS[which]()
    whole = attacked(task, attack, budget)
    assert 0 < whole.reached.sum() < 16 or which in ("trunk", "mel", "query", "item")  # some leave early, some stay
    for size, rows in ((1, 3), (3, 7), (4, 8), (7, 16)):  # the last batch full, or not
        parts = [
            attacked(task, attack, budget, list(range(first, min(first + size, rows))))
            for first in range(0, rows, size)
        ]
        for field in whole._fields:
            assert torch.cat([getattr(part, field) for part in parts]).equal(getattr(whole, field)[:rows]), (
                size,
                field,
            )
    order = torch.randperm(16, generator=torch.Generator().manual_seed(1))
    shuffled = attacked(task, attack, budget, order.tolist())
    for field in whole._fields:
        assert getattr(shuffled, field).equal(getattr(whole, field)[order]), field


def test_seeds_matter_and_repeat():
    task = TASKS["conv"]()
    one, same, other = (attacked(task, PGD(steps=2), Linf("1/255"), seed=seed) for seed in (0, 0, 1))
    assert one.x.equal(same.x)
    assert not one.x.equal(other.x)


# ------------------------------------------------------------------------------------------------ best iterate


class Script:
    """A goal whose losses and successes follow a script, whatever the embedding."""

    def __init__(self, losses, reached=(), rows=None):
        self.script, self.hits, self.calls, self.rows = losses, reached, [0], rows

    def loss(self, z):
        now = self.script[self.calls[0]]
        return torch.full((len(z),), now) + 0 * z.sum(dim=1)

    def reached(self, z):
        self.calls[0] += 1
        return torch.full((len(z),), self.calls[0] - 1 in self.hits)

    def using(self, loss):
        return self

    def __getitem__(self, rows):
        return self


def iterates(script, hits=(), stop=True):
    """Runs the engine on a counter: iterate t is the number t."""
    goal = Script(script, hits)
    start = torch.zeros(1, 1)
    return ascend(
        lambda x: x,
        start,
        goal,
        FREE,
        Linf(100),
        start=start,
        step=lambda now: now.current + 1,
        steps=len(script) - 1,
        stop_when_reached=stop,
    )


def test_the_best_iterate_comes_back_not_the_last():
    found = iterates([0.1, 0.5, 0.9, 0.3, 0.2])
    assert (found.x.item(), found.loss.item(), found.reached.item()) == (2.0, pytest.approx(0.9), False)
    assert (found.gradient_passes.item(), found.forward_passes.item()) == (4, 1)
    assert iterates([0.9, 0.5]).x.item() == 0.0
    assert iterates([0.1, 0.9]).x.item() == 1.0  # the last one counts too
    assert iterates([0.5, 0.5, 0.5]).x.item() == 0.0  # among equals the first


def test_success_beats_a_higher_loss():
    found = iterates([0.9, 0.1, 0.95, 0.2], hits={1}, stop=False)
    assert (found.x.item(), found.reached.item(), found.loss.item()) == (1.0, True, pytest.approx(0.1))
    found = iterates([0.9, 0.1, 0.95, 0.2, 0.15], hits={1, 3, 4}, stop=False)
    assert (found.x.item(), found.loss.item()) == (3.0, pytest.approx(0.2))


def test_the_first_success_ends_it():
    found = iterates([0.1, 0.2, 0.3, 0.9], hits={2})
    assert (found.x.item(), found.gradient_passes.item(), found.forward_passes.item()) == (2.0, 2, 1)
    found = iterates([0.1, 0.2], hits={0})
    assert (found.x.item(), found.gradient_passes.item(), found.forward_passes.item()) == (0.0, 0, 1)


def test_iterations_tell_the_truth():
    seen = []

    def step(now):
        seen.append((now.t, now.loss.item(), now.current.item(), now.gradient.item(), now.x.item()))
        return now.current + 1

    goal = Scorer(torch.tensor([[-2.0]]))
    ascend(
        lambda x: x,
        torch.ones(1, 1),
        goal,
        FREE,
        Linf(9),
        start=torch.ones(1, 1),
        step=step,
        steps=2,
        stop_when_reached=False,
    )
    assert seen == [(0, -2.0, 1.0, -2.0, 1.0), (1, -4.0, 2.0, -2.0, 1.0)]


def test_restarts_never_hurt_and_help_where_one_start_is_not_enough():
    task = TASKS["conv"]()
    attacks = [PGD(steps=2, restarts=n, stop_when_reached=stop) for stop in (True, False) for n in (1, 4)]
    for one, many in (attacks[:2], attacks[2:]):
        once, often = (attacked(task, attack, Linf("2/255")) for attack in (one, many))
        assert (often.reached | ~once.reached).all()
        assert (often.loss[once.reached == often.reached] >= once.loss[once.reached == often.reached]).all()
        assert (often.loss > once.loss).any()
        standing = ~once.reached if one.stop_when_reached else torch.ones_like(once.reached)
        assert (often.gradient_passes[standing] > once.gradient_passes[standing]).all()
        assert (often.gradient_passes[~standing] == once.gradient_passes[~standing]).all()
        never = ~often.reached
        assert never.any()
        assert (often.gradient_passes[never] == 4 * once.gradient_passes[never]).all()
        assert (often.forward_passes[never] == 4).all()


# ------------------------------------------------------------------------------------------- counting, compaction


@pytest.mark.parametrize(
    "attack",
    [PGD(steps=6), PGD(steps=6, stop_when_reached=False), PGD(steps=3, restarts=3), APGD(steps=6), FGSM()],
    ids=str,
)
def test_counted_passes_are_the_passes(attack):
    task = TASKS["conv"]()
    counting = Counting(task.encoder)
    watched = task.on(counting)
    found = attacked(watched, attack, Linf("3/255"))
    rows = counting.rows
    # every sample here starts unfallen or falls: a full batch is padded to a multiple of 4, never more
    spent = int(found.gradient_passes.sum() + found.forward_passes.sum())
    assert spent <= sum(rows) < spent + 4 * len(rows)
    for i in range(16):
        alone = Counting(task.encoder)
        one = attacked(task.on(alone), attack, Linf("3/255"), [i])
        assert (
            len(alone.rows)
            == int(one.gradient_passes + one.forward_passes)
            == int(found.gradient_passes[i] + found.forward_passes[i])
        )


def test_fallen_samples_leave_the_batch():
    w = torch.ones(16, 1)
    x = torch.arange(16.0)[:, None] / 16
    seen = []

    def embed(rows):
        seen.append(rows.detach()[:, 0].clone())
        return rows

    goal = Scorer(w, threshold=1.0)
    step_of = 1 / 4
    found = ascend(embed, x, goal, FREE, Linf(1), start=x, step=lambda now: now.current + step_of, steps=4)
    # after t steps those above 1 - t/4 have fallen; sample 0 sits on the threshold and never does
    assert [len(rows) for rows in seen] == [16, 16, 16, 12, 8]  # 16, 16, 13, 9, 5 in full batches
    assert [len(set(rows.tolist())) for rows in seen] == [16, 16, 13, 9, 5]
    assert found.reached.tolist() == [False] + [True] * 15
    assert all((rows <= 1 + step_of).all() for rows in seen)
    assert found.gradient_passes.tolist() == [4] + [4] * 4 + [3] * 4 + [2] * 4 + [1] * 3
    assert found.forward_passes.tolist() == [1] * 16


def test_states_are_thinned_out_with_the_batch():
    x = torch.arange(8.0)[:, None] / 8
    seen = []

    def step(now):
        if now.t == 0:
            now.state["who"] = now.x.clone()
        seen.append((now.state["who"].equal(now.x), len(now.x), len(now.current), len(now.loss), len(now.gradient)))
        return now.current + 0.25

    ascend(lambda x: x, x, Scorer(torch.ones(8, 1), 1.0), FREE, Linf(1), start=x, step=step, steps=4)
    assert [same for same, *_ in seen] == [True] * 4
    assert [set(sizes) for _, *sizes in seen] == [{8}, {7}, {5}, {3}]


# --------------------------------------------------------------------------------------------------- hard cases


@pytest.mark.parametrize("attack", [PGD(steps=3), FGSM(), APGD(steps=5)], ids=str)
def test_no_gradient_to_speak_of(attack):
    task = zero_shot(Constant(), ToyData(8), "image")
    found = attacked(task, attack, Linf("4/255"))
    assert torch.isfinite(found.x).all()
    assert found.reached.tolist() == [label != 0 for label in task.dataset.labels]


@pytest.mark.parametrize(
    "embed", [lambda x: x.detach(), lambda x: torch.ones(len(x), 3, requires_grad=True)], ids=["detached", "unrelated"]
)
def test_an_encoder_that_cannot_be_differentiated_is_refused_in_one_line(embed):
    with pytest.raises(InputError, match="no gradient back to its input") as caught:
        PGD(steps=2)(embed, torch.rand(4, 3), Scorer(torch.ones(4, 3)), BOX, Linf(0.1), rng(4))
    assert "\n" not in str(caught.value)


def test_a_gradient_that_is_not_a_number_does_not_lead_the_attack_astray():
    def embed(x):
        root = (x[:, :1] - x[:, :1].detach()).sqrt()  # 0, with a gradient of inf
        return torch.cat([root * 0 + x[:, :1], x[:, 1:]], dim=1)  # 0 * inf = nan

    x = torch.full((2, 3), 0.5)
    for budget in (Linf(0.1), L2(0.1)):
        found = PGD(steps=20, random_start=False)(embed, x, Scorer(torch.ones(2, 3)), BOX, budget, rng(2))
        assert torch.isfinite(found.x).all()
        assert (found.x[:, 1:] > 0.56).all()


def test_an_infinite_gradient_leaves_the_others_to_lead():
    def embed(x):
        step = (x[:, :1] - x[:, :1].detach()).sqrt()  # 0, with a gradient of inf
        return torch.cat([step, x[:, 1:]], dim=1)

    x = torch.full((2, 3), 0.5)
    for sign in (1.0, -1.0):
        found = PGD(steps=3, random_start=False)(
            embed, x, Scorer(torch.tensor([[sign, 1.0, 1.0]]).expand(2, 3)), BOX, L2(0.1), rng(2)
        )
        assert (found.x[:, 0] == 0.5).all()
        assert (found.x[:, 1:] > 0.55).all()


def test_an_embedding_that_is_not_a_number_is_a_success_within_the_budget():
    encoder = NotANumber(above=0.52)
    x = torch.full((4, 3, 8, 8), 0.5)
    goal = Misclassify(
        ClassCenters(torch.eye(16)[:3], torch.arange(3), ("a", "b", "c")), torch.zeros(4, dtype=torch.long)
    )
    found = PGD(steps=4)(lambda x: encoder.embed("image", x), x, goal, PIXELS, Linf(0.1), rng(4))
    assert torch.isfinite(found.x).all()
    assert (found.x - x).abs().max() <= 0.1 + 1e-6


@pytest.mark.parametrize(
    "attack", [PGD(steps=3), PGD(steps=3, restarts=2, stop_when_reached=False), FGSM(), APGD(steps=3)], ids=str
)
@pytest.mark.parametrize("budget", [Linf(0), L2("0")], ids=str)
@pytest.mark.parametrize("which", TASKS)
def test_radius_zero_is_the_clean_sample_and_its_verdict(attack, budget, which):
    task = TASKS[which]()
    found = attacked(task, attack, budget)
    assert found.x.equal(task.load(range(16)))
    assert found.reached.equal(task.goal(range(16)).reached(task.embed(task.load(range(16)))))


def test_nobody_to_attack():
    task = TASKS["conv"]()
    for attack in (PGD(steps=2), FGSM(), APGD(steps=2)):
        found = attack(task.embed, torch.zeros(0, 3, 8, 8), task.goal([]), task.space, Linf(0.1), rng(0))
        assert [len(one) for one in found] == [0] * 5


@pytest.mark.parametrize("attack", [PGD(steps=3), FGSM(), APGD(steps=3)], ids=str)
def test_attacks_leave_encoder_and_inputs_alone(attack):
    for task in (TASKS["conv"](), TASKS["trunk"]()):
        before, x = state_hash(task.encoder), task.load(range(16))
        kept = x.clone()
        attack(task.embed, x, task.goal(range(16)), task.space, Linf("4/255"), rng(16))
        assert state_hash(task.encoder) == before
        assert x.equal(kept)
        assert not x.requires_grad
        assert all(one.grad is None for one in task.encoder.parameters())


# ------------------------------------------------------------------------------------------------------ refusals


def test_a_budget_needs_its_space():
    task = TASKS["conv"]()
    x, goal = task.load(range(4)), task.goal(range(4))
    for attack in (PGD(steps=2), FGSM(), APGD(steps=2)):
        with pytest.raises(InputError, match="given for space 'waveform', but the attack runs in 'pixels'"):
            attack(task.embed, x, goal, PIXELS, Linf("4/255", space="waveform"), rng(4))
        with pytest.raises(InputError, match="'4/255' without a space has no meaning"):
            Linf("4/255").check(None)
        attack(task.embed, x, goal, PIXELS, Linf("4/255", space="pixels"), rng(4))
    assert WAVEFORM.name == "waveform"


@pytest.mark.parametrize("knobs", [{"steps": 0}, {"restarts": 0}, {"steps": -1}])
@pytest.mark.parametrize("attack", [PGD, APGD])
def test_attacks_need_a_step(attack, knobs):
    with pytest.raises(InputError, match="at least one step and one restart"):
        attack(**knobs)


def test_unknown_losses_are_named():
    task = TASKS["conv"]()
    with pytest.raises(InputError, match="loss 'hinge' is not known; expected one of"):
        attacked(task, PGD(loss="hinge"), Linf(0.1))


def test_a_step_that_leaves_the_budget_is_brought_back_and_a_broken_start_is_caught():
    x = torch.full((2, 3), 0.5)
    found = ascend(
        lambda x: x, x, Scorer(torch.ones(2, 3)), BOX, Linf(0.1), start=x, step=lambda now: now.current + 7, steps=1
    )
    assert torch.allclose(found.x, torch.tensor(0.6))
    with pytest.raises(BrokenPostCondition, match="spends 0.3"):
        ascend(
            lambda x: x,
            x,
            Scorer(torch.ones(2, 3)),
            BOX,
            Linf(0.1),
            start=x + 0.3,
            step=lambda now: now.current,
            steps=1,
        )


def test_names_say_what_ran():
    assert PGD().name == "pgd20-margin"
    assert PGD(steps=50, restarts=2, loss="ce").name == "pgd50x2-ce"
    assert FGSM(loss="ce").name == "fgsm-ce"
    assert APGD(steps=7, restarts=3).name == "apgd7x3-margin"
    assert APGD().name == "apgd50-margin"
    assert all(attack().stop_when_reached for attack in (PGD, APGD))


def test_madrys_step_size():
    seen = []

    def embed(x):
        seen.append(x.detach().clone())
        return x

    x = torch.zeros(4, 2)
    PGD(steps=10, random_start=False)(embed, x, Scorer(torch.ones(4, 2)), FREE, Linf(1.0), rng(4))
    assert torch.allclose(seen[1], torch.tensor(0.25))
    seen.clear()
    PGD(steps=2, random_start=False)(embed, x, Scorer(torch.ones(4, 2)), FREE, Linf(0.5), rng(4))
    assert torch.allclose(seen[1], torch.tensor(0.5))  # never more than the radius
    seen.clear()
    PGD(steps=1)(embed, x, Scorer(torch.ones(4, 2)), FREE, Linf(0.5), rng(4))
    assert torch.allclose(seen[1], (seen[0] + 0.5).clamp_max(0.5))
    assert seen[0].min() < -0.1
    seen.clear()
    PGD(steps=2, step_size=0.1, random_start=False)(embed, x, Scorer(torch.ones(4, 2)), FREE, Linf(0.5), rng(4))
    assert torch.allclose(seen[1], torch.tensor(0.05))
