"""The goal behind a detector: reached, and not flagged."""

import torch

from ironbind.goals.misclassify import Misclassify
from ironbind.goals.unless_caught import UnlessCaught
from ironbind.types import ClassCenters

CENTERS = ClassCenters(torch.eye(3), torch.arange(3), ("a", "b", "c"))
LABEL = torch.tensor([0, 0, 0, 0])
# right and quiet, wrong and quiet, wrong and flagged, right and flagged: embedding, then the excess over the threshold
ROWS = torch.tensor([[1.0, 0, 0, -0.5], [0, 1.0, 0, -0.5], [0, 1.0, 0, 0.25], [1.0, 0, 0, 0.25]])


def test_only_the_quiet_and_wrong_count():
    goal = UnlessCaught(Misclassify(CENTERS, LABEL))
    assert goal.reached(ROWS).tolist() == [False, True, False, False]
    assert (goal.rank(ROWS) > 1).tolist() == [False, True, False, False]
    assert ((goal.margin(ROWS) >= 0) == goal.reached(ROWS)).all()


def test_the_loss_pays_for_being_flagged():
    """By the excess, and only by what is above the threshold."""
    plain = Misclassify(CENTERS, LABEL)
    loss = UnlessCaught(plain).loss(ROWS)
    torch.testing.assert_close(loss, plain.loss(ROWS[:, :3]) - torch.tensor([0, 0, 0.25, 0.25]))


def test_rows_losses_and_rivals_are_those_of_the_goal():
    goal = UnlessCaught(Misclassify(CENTERS, LABEL))
    rows = torch.tensor([1, 2])
    assert goal[rows].reached(ROWS[rows]).tolist() == [True, False]
    assert goal.using("ce").goal.by == "ce"
    assert goal.rivals(ROWS, 2).shape == (4, 2)
    rival = torch.tensor([1, 1, 2, 2])
    assert torch.equal(goal.against(rival).goal.rival, rival)


def test_an_excess_that_is_no_number_is_not_caught():
    """A detector that fails catches nothing."""
    rows = ROWS.clone()
    rows[1, 3] = torch.nan
    assert UnlessCaught(Misclassify(CENTERS, LABEL)).reached(rows)[1]
