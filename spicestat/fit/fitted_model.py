"""FittedModel: a trained network, the equations read off it, and their estimates, frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from spicestat._runtime.threads import seeded
from spicestat.equations.estimate.refit import RefitResult
from spicestat.equations.estimate.stand_ins import with_typical_equations
from spicestat.equations.structure.equation_set import EquationSet
from spicestat.equations.structure.units import unit_factors
from spicestat.models.base import BaseRNN, BuildSettings, building
from spicestat.models.config import SpiceConfig
from spicestat.models.pieces import EnsembleEmbedding
from spicestat.training.result import TrainingResult

__all__ = ["Architecture", "FittedModel"]


@dataclass(frozen=True)
class Architecture:
    """All that it takes to build a network: its class, sizes, and the seed of its first weights.

    The attributes are settings of `SpiceEstimator`, where they are explained.
    """

    rnn_class: type[BaseRNN]
    spice_config: SpiceConfig
    n_actions: int
    n_participants: int
    n_experiments: int
    hidden_size: int
    embedding_size: int | None
    dropout: float
    n_members: int
    random_state: int
    reward_unit: float
    reward_middle: float | None

    def build(self) -> BaseRNN:
        """Return a new network with weights drawn from ``random_state``."""
        sizes = BuildSettings(self.hidden_size, self.embedding_size, self.dropout, self.n_members)
        with seeded(self.random_state), building(sizes):
            network = self.rnn_class(
                n_actions=self.n_actions, n_participants=self.n_participants, n_experiments=self.n_experiments
            )
        network.start_in_unit(self.reward_unit, self.reward_middle)
        return network


@dataclass(frozen=True, eq=False, repr=False)
class FittedModel:
    """A trained network, the equations read off it, and the estimates of their coefficients.

    Attributes
    ----------
    architecture : Architecture
        From which the network was built.
    network : BaseRNN
        Trained, and not to be trained further: fits share it.
    training : TrainingResult
        What training did.
    sparse : EquationSet
        The equations as the sparse regression read them off the network, P participants with K terms.
    refit : RefitResult
        Their coefficients as estimated from the choices, with covariances.
    inclusion : ndarray of shape (P, K), or None
        Inclusion probability of each term; None where equations came from a file without them.
    stability : ndarray of shape (P, K), or None
        Share of the ensemble's members whose own equations have a term.
    settings : mapping of str
        Further settings of the `SpiceEstimator` that made it, as data for JSON.
    """

    architecture: Architecture
    network: BaseRNN
    training: TrainingResult
    sparse: EquationSet
    refit: RefitResult
    inclusion: np.ndarray | None = None
    stability: np.ndarray | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def equations(self) -> EquationSet:
        """The equations with the estimated coefficients."""
        return self.refit.equations

    @property
    def unit_factors(self) -> np.ndarray:
        """By what each coefficient must be multiplied to be in the unit of the data, (K,)."""
        return unit_factors(self.equations, self.network.reward_units, self.architecture.reward_unit)

    def __repr__(self) -> str:
        equations = self.equations
        return (
            f"<FittedModel: {type(self.network).__name__}, {equations.n_participants} participants, "
            f"{len(equations.terms)} terms, NLL per choice {self.refit.nll:.4f}>"
        )

    def with_refit(self, refit: RefitResult) -> FittedModel:
        """Return the same network and sparse equations with other estimates, of the same participants."""
        return replace(self, refit=refit)

    def with_participants(self, codes: np.ndarray) -> FittedModel:
        """Return the model of other participants: some of its own, in any order, and new ones.

        Parameters
        ----------
        codes : ndarray of shape (N,), int
            Codes of participants whose embedding and equations are taken over; -1 for a new one, who gets the mean
            embedding, typical equations, the mean inclusion probabilities, and no trials.

        Returns
        -------
        FittedModel
            Of N participants, with a network of its own.
        """
        refit = _refit_of(self.refit, codes)
        return replace(
            self,
            architecture=replace(self.architecture, n_participants=len(codes)),
            network=self._network_of(codes),
            sparse=refit.equations,
            refit=refit,
            inclusion=_rows_of(self.inclusion, codes),
            stability=_rows_of(self.stability, codes),
        )

    def _network_of(self, codes: np.ndarray) -> BaseRNN:
        """Copy the network for other participants: everything that does not depend on their number, and embeddings."""
        network = replace(self.architecture, n_participants=len(codes)).build().eval()
        trained = self.network.state_dict()
        fitting = {
            name: trained[name] if name in trained and trained[name].shape == value.shape else value
            for name, value in network.state_dict().items()
        }
        network.load_state_dict(fitting)
        new, old = (getattr(model, "participant_embedding", None) for model in (network, self.network))
        if isinstance(new, EnsembleEmbedding) and isinstance(old, EnsembleEmbedding):
            with torch.no_grad():
                own = old.weight[:, torch.from_numpy(codes.clip(0))]
                unknown = torch.from_numpy(codes < 0)[None, :, None]
                new.weight.copy_(torch.where(unknown, old.weight.mean(dim=1, keepdim=True), own))
        return network


def _rows_of(values: np.ndarray | None, codes: np.ndarray) -> np.ndarray | None:
    """Rows of (P, K) by code, their mean for the code -1."""
    if values is None:
        return None
    rows: np.ndarray = np.where((codes < 0)[:, None], values.mean(axis=0), values[codes])
    return rows


def _refit_of(refit: RefitResult, codes: np.ndarray) -> RefitResult:
    """Estimates of participants by code; for -1 typical equations without trials."""
    known = refit.equations.n_participants
    extended = [*range(known), *([0] if (codes < 0).any() else [])]
    everybody = refit.select(np.array(extended))
    everybody.n_trials[known:] = 0
    # -1 is the last row, which is the typical one
    return with_typical_equations(everybody).select(codes)
