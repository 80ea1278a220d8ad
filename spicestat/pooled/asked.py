"""What the likelihood of choices can be asked: checks of coefficients, and of positions of people."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spicestat.errors import ConfigError, DataError, ShapeError

__all__ = ["checked_coefficients", "checked_people"]


def checked_coefficients(coefficients: np.ndarray, shape: tuple[int | None, ...]) -> np.ndarray:
    """Return coefficients (P, K), or (Q, P, K) where the shape begins with None, as floats.

    Raises
    ------
    ShapeError
        They have another shape.
    """
    values = np.asarray(coefficients, dtype="float64")
    if values.ndim != len(shape) or values.shape[-2:] != shape[-2:]:
        raise ShapeError(
            f"coefficients must be of shape {'(Q, P, K)' if len(shape) == 3 else '(P, K)'}",
            got=values.shape,
            allowed=f"P = {shape[-2]}, K = {shape[-1]}",
        )
    return values


def checked_people(people: Sequence[int] | np.ndarray, n_trials: np.ndarray) -> np.ndarray:
    """Return positions of some of P participants, who made ``n_trials`` (P,) choices.

    Raises
    ------
    ConfigError
        A position is not from 0 to P - 1, or there is none.
    DataError
        None of these people made a choice.
    """
    index = np.asarray(people)
    if index.dtype.kind not in "iu" or not index.size or index.min() < 0 or index.max() >= len(n_trials):
        raise ConfigError(
            "people must be positions of participants",
            got=index.tolist()[:8],
            allowed=f"whole numbers from 0 to {len(n_trials) - 1}",
        )
    if not n_trials[index].any():
        raise DataError("none of the selected people made a choice", got=index.tolist()[:8], do="select others")
    return index
