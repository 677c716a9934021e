"""What is added to the weight of a Linear or Conv layer, a matrix with one row per output: an update of low rank.

In either form it is nothing at birth, and `factors` are two matrices whose product it is.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import linear


class LowRank(nn.Module):
    """U D, or one full matrix where that is smaller.

    LoRA (Hu et al. 2022, arXiv 2106.09685) with scale 1; of a convolution the same as one to `rank` channels and then 1
    x 1. U = 0 at birth.
    """

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        self.shape = weight.shape
        rows, columns = len(weight), weight[0].numel()
        wide = rank * (rows + columns) >= rows * columns
        self.down = None if wide else nn.Parameter(nn.init.kaiming_uniform_(torch.empty(rank, columns), a=math.sqrt(5)))
        self.up = nn.Parameter(torch.zeros(rows, columns if wide else rank))

    @property
    def dtype(self) -> torch.dtype:
        return self.up.dtype

    def forward(self) -> Tensor:
        """The update, in the weight's shape."""
        return (self.up if self.down is None else self.up @ self.down).reshape(self.shape)

    def factors(self) -> tuple[Float[Tensor, "o r"], Float[Tensor, "r i"]]:
        if self.down is not None:
            return self.up, self.down
        rows, columns = self.up.shape
        return (torch.eye(rows), self.up) if rows <= columns else (self.up, torch.eye(columns))

    @torch.no_grad()
    def take(self, other: nn.Module) -> None:
        """Becomes the same update as another of two factors and at most this rank: what it has more stays random below
        and zero above, and can be trained.
        """
        assert isinstance(other, LowRank)
        if self.down is None:
            self.up.copy_(other().reshape(self.up.shape))
        else:
            assert other.down is not None
            rank = len(other.down)
            self.down[:rank] = other.down
            self.up.zero_()[:, :rank] = other.up

    def beside(self, x: Float[Tensor, "*axes i"]) -> Float[Tensor, "*axes o"]:
        """What it adds to a Linear layer's answer."""
        inner = x.to(self.dtype)
        return linear(inner if self.down is None else linear(inner, self.down), self.up)


class CoreUpdate(nn.Module):
    """L C R: L and R are the leading left and right singular vectors of the layer's own weight, `rank` of each, and
    stay as they are; only the core C trains, a matrix of rank x rank.

    LoRA-XS (Balazy et al. 2024, arXiv 2405.17604). C = 0 at birth. The vectors are kept with what is saved, as another
    processor's may differ in the last bit, and hold float16's digits, which is all that a saved file needs. `fresh`:
    whether they are computed here, or will be loaded.
    """

    def __init__(self, weight: Tensor, rank: int, fresh: bool = True) -> None:
        super().__init__()
        self.shape = weight.shape
        matrix = weight.detach().float().flatten(1)
        rank = min(rank, *matrix.shape)
        left, right = matrix.new_zeros(len(matrix), rank), matrix.new_zeros(rank, matrix.shape[1])
        if fresh:
            tall = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T  # three times as fast as a wide one
            u, _, v = torch.linalg.svd(tall, full_matrices=False)
            u, v = (u, v) if tall is matrix else (v.T, u.T)
            left, right = (one.half().float().contiguous() for one in (u[:, :rank], v[:rank]))
        self.left: Tensor
        self.right: Tensor
        self.register_buffer("left", left)
        self.register_buffer("right", right)
        self.core = nn.Parameter(torch.zeros(rank, rank))

    @property
    def dtype(self) -> torch.dtype:
        return self.core.dtype

    def forward(self) -> Tensor:
        """The update, in the weight's shape."""
        return (self.left @ self.core @ self.right).reshape(self.shape)

    def factors(self) -> tuple[Float[Tensor, "o r"], Float[Tensor, "r i"]]:
        return self.left @ self.core, self.right

    @torch.no_grad()
    def take(self, other: nn.Module) -> None:
        """Becomes the same update as a core of at most this rank, the leading block of a wider one, or of an update of
        two factors the nearest (in the Frobenius norm) that a core between these vectors can be.
        """
        if isinstance(other, LowRank):
            up, down = other.factors()
            self.core.copy_((self.left.T @ up) @ (down @ self.right.T))
            return
        assert isinstance(other, CoreUpdate)
        rank = min(len(self.core), len(other.core))
        self.left[:, :rank], self.right[:rank] = other.left[:, :rank], other.right[:rank]
        self.core.zero_()[:rank, :rank] = other.core[:rank, :rank]

    def beside(self, x: Float[Tensor, "*axes i"]) -> Float[Tensor, "*axes o"]:
        """What it adds to a Linear layer's answer."""
        return linear(linear(linear(x.to(self.dtype), self.right), self.core), self.left)
