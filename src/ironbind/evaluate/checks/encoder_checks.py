"""Faults of the encoder that mislead gradient attacks: C1, C4 to C9, C22."""

from itertools import pairwise

import torch
from torch.autograd.graph import saved_tensors_hooks

from ironbind.evaluate.checks.check_context import GRADIENTS, CheckContext, Finding
from ironbind.numerics.batching import in_full_batches
from ironbind.numerics.norms import into_bounds, per_row, steepest_step, unit

VANISHED = 1e-7  # float32 cannot tell cosines apart that differ by less
HALVES = tuple(2.0**-k for k in range(10))  # of the noise, down to about a thousandth
SEEN = 1e-3  # a change of the margin that rounding does not disturb


def parameters_unchanged(context: CheckContext) -> Finding:
    """Parameters and buffers are the same before and after everything that the checks run, and so are the embeddings of
    clean samples (an encoder may keep its state elsewhere)."""
    if context.weights_before != context.weights_now():
        return (
            "fail",
            (
                "weights, buffers or training flags change while the encoder is used: it is another encoder for "
                "every sample"
            ),
        )
    if context.once(determinism)[0] != "pass":
        return (
            "pass",
            "weights and buffers are the same after the checks; embeddings cannot tell, as no two passes agree (C4)",
        )
    moved = float((context.embed(context.x) - context.clean_z).norm(dim=1).max())
    detail = (
        f"weights and buffers are the same after the checks; embeddings of clean samples differ by {moved:.1e} "
        "(limit 1e-4)"
    )
    return ("fail" if not moved <= 1e-4 else "pass"), detail


def determinism(context: CheckContext) -> Finding:
    """Five forward passes agree in embedding and verdict, and so does the pass that a gradient is taken of: a
    randomised encoder needs expectation over transformations (EOT) and voting instead. One that says it draws (a
    test-time defence, whose query draws by its own content) is asked for five draws."""
    passes = torch.stack([context.clean_z, *(context.embed_again(draw) for draw in range(1, 5))])
    spread = float((passes - passes[0]).norm(dim=-1).max())
    turned = int(torch.stack([context.goal.reached(z) for z in passes]).any(dim=0).sum())  # all of them were correct
    if not spread <= 1e-4 or turned:
        detail = (
            f"embeddings differ by {spread:.1e} between passes (limit 1e-4), {turned} of {len(context.x)} clean "
            "verdicts turn"
        )
        return "fail", f"{detail}: attack it with EOT"
    margins, _ = context.gradient("margin")
    off = float((margins - context.goal.using("margin").loss(context.clean_z)).abs().max())
    detail = (
        f"embeddings differ by {spread:.1e} between passes (limit 1e-4), margins by {off:.1e} when a gradient is "
        "asked for (limit 1e-2)"
    )
    return ("fail" if not off <= 1e-2 else "pass"), detail


def more_than(count: int, total: int, share: float) -> bool:
    """Whether so many of `total` are more than the share of it, and more than one, which may be an accident."""
    return count > share * total and (count > 1 or total == 1)


def embeddings_not_probabilities(context: CheckContext) -> Finding:
    """Rows are unit embeddings. Probabilities (no negative coordinate, sum 1) come out of a softmax, which flattens
    gradients.
    """
    z = context.clean_z
    if bool((z >= 0).all()) and bool(((z.sum(dim=1) - 1).abs() < 1e-3).all()):
        return (
            "warn",
            (
                "no coordinate is negative and rows sum to 1: these look like probabilities; attack what comes "
                "before the softmax"
            ),
        )
    off = float((z.norm(dim=1) - 1).abs().max())
    return (
        "warn" if not off <= 1e-2 else "pass"
    ), f"the length of embeddings differs from 1 by up to {off:.1e} (limit 1e-2)"


def gradients_reach_the_input(context: CheckContext) -> Finding:
    """The gradient exists, is finite, and promises a change of the loss that float32 can tell from none, at clean
    samples and at random starts.
    """
    counts = []
    for loss, start in GRADIENTS:
        value, gradient = context.gradient(loss, start)
        where = f"{loss}, {'random start' if start else 'clean'}"
        if gradient is None:
            return "fail", "no gradient leads back to the input: gradient attacks say nothing here"
        if not torch.isfinite(gradient).all() or not torch.isfinite(value).all():
            return "fail", f"the gradient of the {loss} loss is not finite ({where})"
        promised = (
            (gradient * steepest_step(gradient, context.x, context.task.space, context.budget)).flatten(1).sum(dim=1)
        )
        counts.append((where, int((promised.abs() < VANISHED).sum())))
    total = len(context.indices)
    detail = ", ".join(f"{count / total:.0%} of gradients vanish ({where})" for where, count in counts)
    too_many = [more_than(count, total, 0.1) for _, count in counts]
    status = "fail" if any(too_many[:2]) else "warn" if too_many[2] else "pass"
    return status, f"{detail}; limit 10 %"


def losses_do_not_saturate(context: CheckContext) -> Finding:
    """How often the cross-entropy at its logit scale underflows to zero, which would stop an attack that has no other
    loss.
    """
    value, _ = context.gradient("ce")
    share = float((value.abs() < 1e-12).float().mean())  # a goal that names its target pursues a negative one
    return (
        "warn" if share > 0.5 else "pass"
    ), f"{share:.0%} of cross-entropies underflow (the margin does not); limit 50 %"


def inference_is_plain(context: CheckContext) -> Finding:
    """Inference runs no backward pass of its own (a dynamic defence), and answers small changes in proportion, not by
    steps (a preparation that rounds, selects or detects): such encoders need an adaptive attack, for instance through a
    differentiable stand-in (BPDA)."""
    backward = 0

    def unpack(saved: torch.Tensor) -> torch.Tensor:
        nonlocal backward
        backward += 1
        return saved

    try:
        with torch.enable_grad(), saved_tensors_hooks(lambda saved: saved, unpack):
            in_full_batches(context.counted_embed)(
                context.x[context.few].detach().clone().requires_grad_(True)
            )  # no gradient is computed here: only the encoder can unpack
    except RuntimeError as error:
        if "saved tensor hooks" not in str(error):  # what torch.func's transforms say of hooks
            raise
        backward += 1
    if backward:
        return (
            "warn",
            "a backward pass runs during inference: the encoder is a dynamic defence, which needs an adaptive attack",
        )
    far, near = ((z - context.clean_z).norm(dim=1) for z in (context.noise_z[0], context.near_z))
    if float(far.max()) < VANISHED:
        return "pass", "no backward pass during inference; nothing changes under noise"
    ratio = float((1e3 * near / far.clamp_min(1e-30)).median())
    detail = (
        f"no backward pass during inference; a thousandth of the noise does {ratio:.2g} thousandths of the change "
        "(limits 0.2 and 5)"
    )
    if 0.2 <= ratio <= 5:
        return "pass", detail
    if ratio < 0.2:  # steps, or a smooth answer that bends within the budget, as a real network's may
        way = context.noise() - context.x
        reach = [(z - context.clean_z).norm(dim=1) for z in context.embed_each(*(context.x + s * way for s in HALVES))]
        jump = float(torch.stack([a / b.clamp_min(1e-30) for a, b in pairwise(reach)]).amax(dim=0).median())
        if jump <= 10:
            return (
                "pass",
                f"{detail}, as it bends: halving the noise divides the change by up to {jump:.2g} (limit 10)",
            )
    return "warn", f"{detail}: the answer changes by steps or at random, a gradient does not describe it"


def gradients_are_true(context: CheckContext) -> Finding:
    """The gradient predicts the change of the loss along random directions (central differences); a masked gradient
    does not.
    """
    _, gradient = context.gradient("margin")
    if gradient is None:
        return "fail", "there is no gradient to compare"
    goal, space, points, predictions = context.goal.using("margin"), context.task.space, [], []
    reach = (context.noise() - context.x).flatten(1).norm(dim=1)
    for draw in range(3):
        direction = unit(context.rng(f"direction {draw}").normal("d", tuple(context.x.shape[1:])).to(context.x))
        # along a random direction alone the change drowns in rounding; half of the gradient's own direction keeps it
        # measurable
        direction = unit(direction + unit(gradient))
        slope = (gradient * direction).flatten(1).sum(dim=1).abs()
        step = per_row((SEEN / slope.clamp_min(1e-12)).minimum(reach), direction)
        ahead, behind = (into_bounds(context.x + sign * step * direction, space) for sign in (1.0, -1.0))
        predictions.append((gradient * (ahead - behind)).flatten(1).sum(dim=1))
        points += [ahead, behind]
    losses, errors = [goal.loss(z) for z in context.embed_each(*points)], []
    for predicted, ahead_loss, behind_loss in zip(predictions, losses[::2], losses[1::2], strict=True):
        measured = ahead_loss - behind_loss
        largest = measured.abs().maximum(predicted.abs())
        errors.append((measured - predicted).abs() / largest.clamp_min(SEEN / 100))
    error = float(torch.stack(errors).median())
    return (
        "warn" if not error <= 0.05 else "pass"
    ), f"gradient and finite differences differ by {error:.1%} (median; limit 5 %)"


def loss_is_smooth(context: CheckContext) -> Finding:
    """The loss under noise of the budget's size varies little compared with its range: otherwise predictions are
    unstable (indicator I2).
    """
    margin = context.goal.using("margin")
    margins = torch.stack([margin.loss(z) for z in [context.clean_z, *context.noise_z]])
    spread = float((margins[1:] - margins[0]).abs().mean())
    return (
        "warn" if not spread <= 0.1 else "pass"
    ), f"the margin moves by {spread:.3f} under random noise of the budget's size (limit 0.1)"


def admissible(context: CheckContext) -> Finding:
    """Whether a standardised attack suffices (RobustBench's rules: gradients that are not zero, a deterministic forward
    pass, no optimisation inside)."""
    rules = {"C4": determinism, "C6": gradients_reach_the_input, "C7": inference_is_plain}
    broken = [code for code, check in rules.items() if context.once(check)[0] != "pass"]
    if broken:
        return (
            "warn",
            (
                f"adaptive evaluation needed ({', '.join(broken)}): a standard attack overestimates the "
                "robustness of such an encoder"
            ),
        )
    return "pass", "standardised: gradients, a deterministic forward pass, no optimisation during inference"
