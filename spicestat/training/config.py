"""TrainingConfig: the settings of network training."""

from __future__ import annotations

from dataclasses import dataclass

from spicestat._checks import optional_whole_number, real_number, seed_number, whole_number

__all__ = ["TrainingConfig"]


@dataclass(frozen=True)
class TrainingConfig:
    """Settings of `train`.

    Parameters
    ----------
    epochs : int
        Passes over the data, 1 or more.
    learning_rate : float
        Of AdamW, above 0.
    l2_weight_decay : float
        Decoupled weight decay (Loshchilov & Hutter 2019), 0 or more.
    batch_size : int or None
        Sequences per step. None: all at once.
    n_steps_per_call : int or None
        Length of truncated back-propagation through time. None: whole sequences.
    scheduler : bool
        Cosine learning-rate schedule with warm restarts (Loshchilov & Hutter 2017), period 64
        epochs, doubled at each restart.
    bagging : bool
        Each ensemble member sees a bootstrap sample of each participant's sequences.
    convergence_threshold : float
        Training stops when the smoothed training loss changes by less than this per epoch.
        0: never.
    patience : int or None
        Epochs without a better validation loss (it is looked at every 8 epochs) until training stops.
        None: never.
    seed : int
        Of initial weights, dropout, batches and bootstrap.

    Examples
    --------
    >>> TrainingConfig(epochs=0)
    Traceback (most recent call last):
    ...
    spicestat.errors.ConfigError: epochs is out of range. Got: 0. Allowed: a whole number, 1 or more.
    """

    epochs: int = 512
    learning_rate: float = 1e-2
    l2_weight_decay: float = 1e-4
    batch_size: int | None = None
    n_steps_per_call: int | None = None
    scheduler: bool = False
    bagging: bool = False
    convergence_threshold: float = 1e-7
    patience: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        whole_number("epochs", self.epochs, 1)
        real_number("learning_rate", self.learning_rate, 0.0, low_included=False)
        real_number("l2_weight_decay", self.l2_weight_decay, 0.0)
        optional_whole_number("batch_size", self.batch_size, 1)
        optional_whole_number("n_steps_per_call", self.n_steps_per_call, 1)
        real_number("convergence_threshold", self.convergence_threshold, 0.0)
        optional_whole_number("patience", self.patience, 1)
        object.__setattr__(self, "seed", seed_number(self.seed))
