"""Values that are exact on the way forward and have the gradient of something smooth on the way back (BPDA, Athalye,
Carlini and Wagner 2018, arXiv 1802.00420).
"""

from jaxtyping import Float
from torch import Tensor

from ironbind.defences.defence import AS_DEPLOYED, Where
from ironbind.numerics.norms import per_row


def prepared(exact: Float[Tensor, "b ..."], x: Float[Tensor, "b ..."], where: Where) -> Float[Tensor, "b ..."]:
    """`exact`, which was made of `x`: to a query as it is, to an attacker with the gradient of `x`. The value is the
    same to the bit, as a number minus itself is zero.
    """
    return exact if where.gradient == AS_DEPLOYED else exact.detach() + (x - x.detach())


def sign_of(gradient: Float[Tensor, "b ..."]) -> Float[Tensor, "b ..."]:
    """The signs, with the derivative of tanh(gradient / its mean absolute value)."""
    size = gradient.detach().flatten(1).abs().mean(dim=1).clamp_min(1e-30)
    smooth = (gradient / per_row(size, gradient)).tanh()
    return gradient.detach().sign() + (smooth - smooth.detach())
