"""Processor time of one training epoch: epochs.py ours MEMBERS | theirs. The same network and data on both sides.

The network is SPICE's LearningRateRNN, the data are 80 sequences of 100 trials with two actions. An epoch is what the
longer of two trainings takes more than the shorter one, so that setting up does not count.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import torch

SEQUENCES, TRIALS = 80, 100
FEW, MANY = 5, 25


def data() -> tuple[torch.Tensor, torch.Tensor]:
    """Features (S, T, 7), as autospice 0.2.0 reads them (-1 for rewards that were not shown), and next choices."""
    rng = np.random.default_rng(1)
    choice = np.eye(2)[rng.integers(0, 2, (SEQUENCES, TRIALS + 1))]
    reward = np.where(choice > 0, rng.integers(0, 2, choice.shape), -1.0)
    ids = np.zeros((SEQUENCES, TRIALS, 3))
    xs = np.concatenate([choice[:, :-1], reward[:, :-1], ids], axis=2)
    return torch.tensor(xs, dtype=torch.float32), torch.tensor(choice[:, 1:], dtype=torch.float32)


def ours(members: int, epochs: int) -> float:
    """Train by spicestat."""
    from spicestat.models.base import BuildSettings, building
    from spicestat.models.precoded import LearningRateRNN
    from spicestat.training.config import TrainingConfig
    from spicestat.training.loop import train
    from spicestat.trials import SequenceDataset

    xs, ys = data()
    xs = torch.where(xs < 0, torch.nan, xs)
    with building(BuildSettings(8, None, 0.1, members)):
        network = LearningRateRNN(n_actions=2)
    sequences = SequenceDataset.from_arrays(xs, ys)
    config = TrainingConfig(epochs=epochs, convergence_threshold=0.0)
    started = time.process_time()
    train(network, sequences, config)
    return time.process_time() - started


def theirs(epochs: int) -> float:
    """Train by autospice 0.2.0."""
    sys.path.append("build/autospice")
    from spice.precoded import LearningRateRNN
    from spice.resources.rnn_training import fit_model
    from spice.resources.rnn_utils import DatasetRNN

    xs, ys = data()
    network = LearningRateRNN(n_actions=2)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    started = time.process_time()
    fit_model(network, DatasetRNN(xs, ys), optimizer=optimizer, epochs=epochs, convergence_threshold=0.0, verbose=False)
    return time.process_time() - started


if __name__ == "__main__":
    torch.manual_seed(0)
    side = (lambda epochs: theirs(epochs)) if sys.argv[1] == "theirs" else lambda epochs: ours(int(sys.argv[2]), epochs)
    side(2)
    times = [(side(MANY) - side(FEW)) / (MANY - FEW) for _ in range(3)]
    print(sorted(times)[1])
