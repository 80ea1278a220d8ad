"""What a fitted `SpiceEstimator` offers: predictions, agents, equations and files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor

from spicestat.agents.agents import AgentNetwork, AgentSpice
from spicestat.equations.estimate.forward import equation_logits, equation_nll
from spicestat.equations.estimate.refit import RefitResult
from spicestat.equations.structure.equation_set import EXCLUDED, EquationSet
from spicestat.equations.structure.units import in_unit_of_data
from spicestat.errors import ConfigError, NotFittedError, ShapeError
from spicestat.fit.fitted_model import Architecture, FittedModel
from spicestat.fit.model_files import load_equations, load_rnn, save_equations, save_rnn
from spicestat.models.base import BaseRNN
from spicestat.models.config import SpiceConfig
from spicestat.models.pieces import EnsembleEmbedding
from spicestat.training.evaluate import rnn_logits
from spicestat.training.result import TrainingResult
from spicestat.trials.sequences import SequenceDataset

__all__ = ["ArrayLike", "FittedSpice", "sequences"]

ArrayLike = np.ndarray | Tensor
"""What features and choices may be given as."""


class FittedSpice:
    """The part of `SpiceEstimator` that uses networks and equations, whose settings and attributes it has."""

    spice_config: SpiceConfig
    n_actions: int
    n_participants: int
    n_experiments: int
    unseen_participants: Literal["error", "typical"]
    reward_unit: float

    fitted_model_: FittedModel
    _network: tuple[BaseRNN, TrainingResult]
    _deterministic = True

    def architecture(self) -> Architecture:
        """Return what the settings build a network from."""
        raise NotImplementedError

    def settings(self) -> dict[str, Any]:
        """Return the settings that a fitted model keeps besides its architecture."""
        raise NotImplementedError

    @classmethod
    def from_model(cls, model: FittedModel) -> Self:
        """Return an estimator that holds a fitted model, with that model's settings."""
        estimator = cls(**_fields(model.architecture), **model.settings)
        estimator.fitted_model_ = model
        return estimator

    @property
    def rnn_model_(self) -> BaseRNN:
        """The trained network."""
        return self.fitted_model_.network if "fitted_model_" in self.__dict__ else self._network[0]

    @property
    def training_(self) -> TrainingResult:
        """What training did."""
        return self.fitted_model_.training if "fitted_model_" in self.__dict__ else self._network[1]

    @property
    def sparse_(self) -> EquationSet:
        """The equations as the sparse regression read them off the network."""
        return self.fitted_model_.sparse

    @property
    def equations_(self) -> EquationSet:
        """The equations with the coefficients as estimated from the choices."""
        return self.fitted_model_.equations

    @property
    def refit_(self) -> RefitResult:
        """Estimates of the coefficients with covariances."""
        return self.fitted_model_.refit

    @property
    def inclusion_(self) -> np.ndarray:
        """Inclusion probabilities (P, K); absent where the equations came from a file."""
        return _present(self.fitted_model_.inclusion)

    @property
    def stability_(self) -> np.ndarray:
        """Share of the ensemble's members whose equations have a term (P, K); absent as `inclusion_` is."""
        return _present(self.fitted_model_.stability)

    @property
    def unit_factors(self) -> np.ndarray:
        """By what each coefficient of the equations must be multiplied to be in the unit of the data, (K,)."""
        self._check_fitted()
        return self.fitted_model_.unit_factors

    @property
    def rnn_agent(self) -> AgentNetwork:
        """Agent that plays by the networks."""
        self._check_trained()
        source = (self.rnn_model_, self._deterministic)
        if getattr(self, "_rnn_agent_source", None) != source:
            self._rnn_agent = AgentNetwork(self.rnn_model_, deterministic=self._deterministic)
            self._rnn_agent_source = source
        return self._rnn_agent

    @property
    def spice_agent(self) -> AgentSpice:
        """Agent that plays by the equations of the participants that `predict` knows."""
        self._check_fitted()
        source = (self.rnn_model_, self.equations_, self._deterministic, self.unseen_participants)
        if getattr(self, "_spice_agent_source", None) != source:
            fitted = np.flatnonzero(self.refit_.n_trials).tolist()
            known = None if self.n_participants == 0 or self.unseen_participants == "typical" else fitted
            self._spice_agent = AgentSpice(
                self.rnn_model_, self.equations_, deterministic=self._deterministic, participant_ids=known
            )
            self._spice_agent_source = source
        return self._spice_agent

    def predict(self, conditions: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Choice probabilities of the RNN and of the equations.

        Parameters
        ----------
        conditions : array of shape (S, T, F)
            Features of participants that were fitted.

        Returns
        -------
        (ndarray, ndarray), each of shape (S, T, A)
            NaN on padding.
        """
        self._check_fitted()
        shape = tuple(np.shape(conditions))
        if len(shape) != 3:
            raise ShapeError("conditions must be 3-D", got=shape)
        anything = torch.zeros(shape[0], shape[1], self.n_actions)
        anything[..., 0] = 1.0
        data = self._known_data(conditions, anything)

        def probabilities(logits: Tensor) -> np.ndarray:
            values: np.ndarray = torch.where(
                data.valid[..., None], torch.softmax(logits.double(), dim=-1), torch.nan
            ).numpy()
            return values

        equations = equation_logits(self.rnn_model_, data, self.equations_)
        return probabilities(rnn_logits(self.rnn_model_, data)), probabilities(equations)

    def score(self, conditions: ArrayLike, targets: ArrayLike) -> float:
        """Mean log-likelihood per choice, in nats, of the equations; higher is better.

        Parameters
        ----------
        conditions, targets : arrays
            As in `fit`; of participants that were fitted, unless ``unseen_participants="typical"``.
        """
        self._check_fitted()
        return -equation_nll(self.rnn_model_, self._known_data(conditions, targets), self.equations_)

    def _known_data(self, conditions: ArrayLike, targets: ArrayLike) -> SequenceDataset:
        """Read arrays of participants that the fit knows or may stand in for."""
        data = sequences(conditions, targets, n_experiments=self.n_experiments)
        self._check_actions(data)
        if self.n_participants == 0:
            return data.pooled()
        allowed = self._known_participants()
        unknown = sorted(set(data.participant.tolist()) - set(allowed))
        if unknown:
            raise ShapeError(
                "conditions hold participants that were not fitted",
                got=unknown,
                allowed=allowed,
                do="fit them too, or set unseen_participants='typical' (and n_participants to all of them)",
            )
        return replace(data, n_participants=self.equations_.n_participants)

    def _known_participants(self) -> list[int]:
        """Codes of the participants that were fitted, or all if a typical one may stand in."""
        everybody = self.n_participants == 0 or self.unseen_participants == "typical"
        known: list[int] = np.flatnonzero((self.refit_.n_trials > 0) | everybody).tolist()
        return known

    def get_participant_embeddings(self) -> dict[int, Tensor]:
        """Return each participant's embedding, of shape (E,), or (M, E) with M > 1 ensemble members.

        Do not regress them on covariates: they are shrunken, and nothing says how uncertain they are.

        Raises
        ------
        ConfigError
            The model has no participant embedding.
        """
        self._check_trained()
        embedding = getattr(self.rnn_model_, "participant_embedding", None)
        if not isinstance(embedding, EnsembleEmbedding):
            raise ConfigError(
                "the model has no participant embedding",
                got=type(self.rnn_model_).__name__,
                do="pass n_participants, and set self.participant_embedding in a custom model",
            )
        vectors = embedding.weight.detach().clone()
        return {code: vectors[:, code].squeeze(0) for code in range(vectors.shape[1])}

    def save_spice(self, path_rnn: str | Path | None = None, path_spice: str | Path | None = None) -> None:
        """Write the networks and the equations to a file each; what is given no path is not written.

        Files hold safetensors and JSON whatever their names say; `load_spice` reads them.

        Parameters
        ----------
        path_rnn, path_spice : path, optional
            At least one.

        Raises
        ------
        ConfigError
            No path is given.
        StorageError
            A file cannot be written.
        """
        if path_rnn is None and path_spice is None:
            raise ConfigError("save_spice needs a path", do="pass path_rnn, path_spice or both")
        self._check_fitted()
        if path_rnn is not None:
            save_rnn(path_rnn, self.rnn_model_, self.training_)
        if path_spice is not None:
            save_equations(path_spice, self.sparse_, self.refit_)

    def load_spice(
        self, path_rnn: str | Path | None = None, path_spice: str | Path | None = None, deterministic: bool = True
    ) -> Self:
        """Read what `save_spice` wrote into an estimator with the same settings; nothing is executed.

        Parameters
        ----------
        path_rnn, path_spice : path, optional
            Equations alone need an estimator that already has networks.
        deterministic : bool, default True
            Whether `rnn_agent` and `spice_agent` choose the action with the largest logit, rather than draw.

        Returns
        -------
        SpiceEstimator
            The estimator itself.

        Raises
        ------
        ConfigError
            No path is given, or the equations are those of another model.
        StorageError
            A file is missing, damaged, or of another model.
        """
        if path_rnn is None and path_spice is None:
            raise ConfigError("load_spice needs a path", do="pass path_rnn, path_spice or both")
        if path_rnn is None and not hasattr(self, "rnn_model_"):
            raise NotFittedError(
                "equations need the networks they belong to, and this SpiceEstimator has none", do="pass path_rnn, too"
            )
        model = self.architecture().build().eval() if path_rnn is not None else self.rnn_model_
        training = load_rnn(path_rnn, model) if path_rnn is not None else self.training_
        if path_spice is not None:
            sparse, refit = load_equations(path_spice)
            self._check_equations(sparse, model)
            self.fitted_model_ = FittedModel(
                self.architecture(), model, training, sparse, refit, settings=self.settings()
            )
        elif hasattr(self, "fitted_model_"):
            self.fitted_model_ = replace(self.fitted_model_, network=model, training=training)
        else:
            self._network = model, training
        self._deterministic = deterministic
        return self

    def _check_equations(self, equations: EquationSet, model: BaseRNN) -> None:
        """Refuse equations of other modules, inputs, inverse temperatures or participants."""
        config, wrong = self.spice_config, "the equations are those of another model"
        own = {module: [module, *config.signals(module)] for module in config.rnn_modules}
        given = {library.module: list(library.variables) for library in equations.libraries}
        if list(given.items()) != list(own.items()):
            raise ConfigError(wrong, got=given, allowed=own)
        if set(equations.states) != set(model.betas):
            raise ConfigError(wrong, got=list(equations.states), allowed=list(model.betas))
        n_needed = max(self.n_participants, 1)
        if equations.n_participants < n_needed or (self.n_participants == 0 and equations.n_participants > 1):
            raise ConfigError(
                "the equations are for a different number of participants",
                got=equations.n_participants,
                allowed=n_needed,
            )

    def get_spice_features(self) -> dict[int, dict[str, dict[str, float]]]:
        """Return ``{participant: {module: {term: coefficient}}}`` of the terms in the equations."""
        self._check_fitted()
        equations = in_unit_of_data(self.equations_, self.unit_factors)
        features: dict[int, dict[str, dict[str, float]]] = {}
        for participant in np.flatnonzero(self.refit_.n_trials).tolist():
            modules: dict[str, dict[str, float]] = {}
            for position, (module, term) in enumerate(equations.terms):
                if equations.status[participant, position] != EXCLUDED:
                    modules.setdefault(module, {})[term] = float(equations.coefficients[participant, position])
            features[participant] = modules
        return features

    def print_spice_model(self, participant_id: int = 0) -> None:
        """Print a participant's equations; without participants (``n_participants=0``), everybody's."""
        self._check_fitted()
        if self.n_participants == 0:
            participant_id = 0
        known = self._known_participants()
        if participant_id not in known:
            raise ConfigError("no such participant has been fitted", got=participant_id, allowed=known)
        print("\n".join(in_unit_of_data(self.equations_, self.unit_factors).text(participant_id).values()))

    def _check_fitted(self) -> None:
        if not hasattr(self, "fitted_model_"):
            trained = hasattr(self, "rnn_model_")
            raise NotFittedError(
                "this SpiceEstimator has a network but no equations"
                if trained
                else "this SpiceEstimator is not fitted",
                do="pass path_spice to load_spice(), or call fit()"
                if trained
                else "call fit(conditions, targets) first",
            )

    def _check_trained(self) -> None:
        if not hasattr(self, "rnn_model_"):
            raise NotFittedError("this SpiceEstimator has no trained network", do="call fit() or load_spice() first")

    def _check_actions(self, data: SequenceDataset) -> None:
        if data.n_actions != self.n_actions:
            raise ShapeError(
                "the data have a different number of actions",
                got=data.n_actions,
                allowed=self.n_actions,
                do=f"set n_actions={data.n_actions}",
            )


def sequences(
    conditions: ArrayLike, targets: ArrayLike, n_participants: int | None = None, n_experiments: int | None = None
) -> SequenceDataset:
    """Read arrays onto the CPU, wherever a `DatasetRNN` has its tensors."""
    xs, ys = (array.cpu() if isinstance(array, Tensor) else array for array in (conditions, targets))
    return SequenceDataset.from_arrays(xs, ys, n_participants, n_experiments)


def _fields(architecture: Architecture) -> dict[str, Any]:
    return {name: getattr(architecture, name) for name in architecture.__dataclass_fields__}


def _present(values: np.ndarray | None) -> np.ndarray:
    """Refuse as Python does for an attribute that is not there, so that `hasattr` says no."""
    if values is None:
        raise AttributeError("the equations came from a file, which does not hold this")
    return values
