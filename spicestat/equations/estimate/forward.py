"""The model's own forward pass with equations in place of networks: batched, differentiable, float64."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from spicestat._runtime.threads import one_thread
from spicestat.equations.structure.equation_set import EXCLUDED, EquationSet
from spicestat.models.base import BaseRNN
from spicestat.models.module_equation import ModuleEquation
from spicestat.models.pieces import keep_first_member
from spicestat.training.loss import check_times
from spicestat.trials.sequences import SequenceDataset

__all__ = ["EquationModel", "copied", "equation_logits", "equation_nll", "row_equations"]


class EquationModel:
    """A model and its data, ready to be run with any coefficients of a given structure.

    Parameters
    ----------
    model : BaseRNN
        Trained or not: its networks are not used. It is copied and left as it is.
    data : SequenceDataset
        S sequences of P participants.
    equations : EquationSet
        Structure; terms that are excluded for everybody cost nothing.
    """

    def __init__(self, model: BaseRNN, data: SequenceDataset, equations: EquationSet) -> None:
        self.model = copied(model).double()
        # equations have no members; embeddings, which forward() still looks up, must agree on that
        keep_first_member(self.model)
        self.model.n_members = 1
        self.data = data.to(dtype=torch.float64)
        self.features = self.data.xs
        self.equations = equations

    def logits(self, coefficients: Tensor, rows: Tensor | None = None, n_steps: int | None = None) -> Tensor:
        """Run the equations.

        Parameters
        ----------
        coefficients : Tensor of shape (C, P, K)
            C copies of all coefficients, excluded ones 0 and kept ones 1.
        rows : int Tensor of shape (R,), optional
            Sequences to run; default: all S.

        n_steps : int, optional
            Steps to run; default: all T.

        Returns
        -------
        Tensor of shape (C, R, n_steps, A)
        """
        flat, _ = self._run(*self._spread(coefficients, rows), n_steps)
        return flat.reshape(coefficients.shape[0], -1, *flat.shape[1:])

    def log_likelihood(self, coefficients: Tensor, rows: Tensor | None = None, n_steps: int | None = None) -> Tensor:
        """Log-likelihood (C, R) of each sequence, with the arguments of `logits`."""
        return self.log_likelihood_of(*self._spread(coefficients, rows), n_steps).reshape(coefficients.shape[0], -1)

    def log_likelihood_of(self, per_row: Tensor, rows: Tensor, n_steps: int | None = None) -> Tensor:
        """Log-likelihood (N,) of sequences ``rows`` (N,), which may recur, each with coefficients (N, K) of its own."""
        logits, state = self._run(per_row, rows, n_steps)
        targets, times, mask = (part[rows, :n_steps] for part in (self.data.targets, self.data.times, self.data.mask))
        return self.model.log_likelihood(logits, state, targets, times, mask)

    def _spread(self, coefficients: Tensor, rows: Tensor | None) -> tuple[Tensor, Tensor]:
        """Coefficients (C * R, K) of every copy's sequences, and these (C * R,)."""
        rows = torch.arange(self.data.n_sequences) if rows is None else rows
        per_row = coefficients[:, self.data.participant[rows]]
        return per_row.reshape(-1, coefficients.shape[-1]), rows.repeat(coefficients.shape[0])

    def _run(self, per_row: Tensor, rows: Tensor, n_steps: int | None) -> tuple[Tensor, dict[str, Tensor]]:
        """Logits (N, n_steps, A) and last states."""
        modules, betas = row_equations(self.equations, per_row)
        with self.model.equations(modules, betas):
            logits, state = self.model(self.features[rows, :n_steps], batch_first=True)
        return logits, state


def copied(model: BaseRNN) -> BaseRNN:
    """Return a copy of a model in evaluation mode, without the states and gradients of its last forward pass."""
    # the last states may hang on a graph of gradients, which cannot be copied
    duplicate: BaseRNN = copy.deepcopy(model, {id(model.state): {}})
    return duplicate.eval()


def row_equations(equations: EquationSet, per_row: Tensor) -> tuple[dict[str, ModuleEquation], dict[str, Tensor]]:
    """Equations and inverse temperatures of R rows with coefficients (R, K); terms that nobody has cost nothing."""
    used = (equations.status != EXCLUDED).any(axis=0)
    modules = {}
    for library in equations.libraries:
        start = equations.positions(library).start
        terms = [offset for offset in range(len(library.terms)) if used[start + offset]]
        modules[library.module] = ModuleEquation(
            [library.factors[offset] for offset in terms], [per_row[:, start + offset, None] for offset in terms]
        )
    first = per_row.shape[1] - len(equations.states)
    return modules, {state: per_row[:, first + offset, None] for offset, state in enumerate(equations.states)}


def equation_logits(model: BaseRNN, data: SequenceDataset, equations: EquationSet) -> Tensor:
    """Logits (S, T, A), float64, of a model run with its equations instead of its networks."""
    with torch.no_grad(), one_thread():
        coefficients = torch.from_numpy(equations.coefficients).unsqueeze(0)
        return EquationModel(model, data, equations).logits(coefficients)[0]


def equation_nll(model: BaseRNN, data: SequenceDataset, equations: EquationSet) -> float:
    """Mean negative log-likelihood per choice, in nats, of a model run with its equations."""
    check_times(model, data)
    with torch.no_grad(), one_thread():
        coefficients = torch.from_numpy(equations.coefficients).unsqueeze(0)
        total = EquationModel(model, data, equations).log_likelihood(coefficients).sum()
    return float(-total / data.mask.sum())
