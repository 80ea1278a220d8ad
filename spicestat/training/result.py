"""TrainingResult: what training did."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["TrainingResult"]


@dataclass(frozen=True)
class TrainingResult:
    """What training did.

    Attributes
    ----------
    train_nll : tuple of float
        Mean training NLL per epoch.
    validation_nll : tuple of (int, float)
        Epoch (from 1) and validation NLL where it was evaluated.
    stopped : str
        ``"converged"``, ``"epochs"`` or ``"patience"``.
    best_epoch : int
        Epoch (from 1) whose weights the model has.
    """

    train_nll: tuple[float, ...]
    validation_nll: tuple[tuple[int, float], ...]
    stopped: str
    best_epoch: int
