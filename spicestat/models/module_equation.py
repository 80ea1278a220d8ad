"""A module's polynomial difference equation, evaluated for a whole batch in torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

__all__ = ["ModuleEquation"]


@dataclass(frozen=True)
class ModuleEquation:
    """``x[k+1] = sum_j c_j m_j(x[k], u[k])`` with monomials m_j and coefficients c_j per row.

    Attributes
    ----------
    factors : sequence of K tuples of int
        For each term the variables that are multiplied: 0 is the state x, i >= 1 the
        module's input i - 1, and the empty tuple is the constant 1.
    coefficients : sequence of K Tensors of shape (R, 1)
        One column per term.

    Examples
    --------
    >>> import torch
    >>> half = torch.tensor([[0.5]])
    >>> equation = ModuleEquation(factors=[(), (0, 1)], coefficients=[half, half])
    >>> equation(torch.tensor([[2.0]]), [torch.tensor([[3.0]])])  # .5 + .5 * 2 * 3
    tensor([[3.5000]])
    """

    factors: Sequence[tuple[int, ...]]
    coefficients: Sequence[Tensor]

    def __call__(self, value: Tensor, inputs: Sequence[Tensor]) -> Tensor:
        """Map the state (R, A) and inputs, each (R, A), to the next state (R, A)."""
        total = value.new_zeros(()).expand_as(value)
        for factors, coefficient in zip(self.factors, self.coefficients, strict=True):
            term = coefficient
            for factor in factors:
                term = term * (value if factor == 0 else inputs[factor - 1])
            total = total + term
        return total
