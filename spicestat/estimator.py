"""SpiceEstimator: the scikit-learn interface to RNN training and equation discovery."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from sklearn.base import BaseEstimator
from torch import Tensor

from spicestat.dataset import SequenceDataset
from spicestat.equations.discover import SparseSettings, Structure, discover
from spicestat.equations.equation_set import EXCLUDED, EquationSet
from spicestat.equations.forward import equation_logits
from spicestat.equations.refit import RefitResult
from spicestat.equations.selection import Criterion
from spicestat.errors import ConfigError, ConvergenceWarning, NotFittedError, ShapeError
from spicestat.models.base import BaseRNN, BuildSettings, building
from spicestat.models.config import SpiceConfig
from spicestat.settings import optional_whole_number, real_number, whole_number
from spicestat.training.config import TrainingConfig
from spicestat.training.loop import Progress, TrainingResult, rnn_logits, train

__all__ = ["SpiceConfig", "SpiceEstimator"]

ArrayLike = np.ndarray | Tensor


class SpiceEstimator(BaseEstimator):  # type: ignore[misc]
    """Fit an RNN to choices, replace its modules by sparse equations, and estimate these by likelihood.

    Parameters
    ----------
    rnn_class : type of BaseRNN
        Precoded or custom model.
    spice_config : SpiceConfig
        Its modules and control signals.
    hidden_size : int, default 8
        Width of the RNN modules.
    dropout : float in [0, 1), default 0.25
        Dropout in modules and embeddings.
    embedding_size : int, optional
        Length of participant embeddings; default: the model's own.
    n_actions : int, default 2
        Number of actions A.
    n_participants, n_experiments : int, default 0
        Handed to the model; 0 means that it has no embedding of them.
    epochs : int, default 128
        Passes over the data.
    learning_rate : float, default 5e-3
        Of AdamW.
    batch_size, n_steps_per_call : int, optional
        See `TrainingConfig`.
    l2_weight_decay : float, default 1e-4
        Weight decay.
    scheduler : bool, default False
        Cosine schedule with warm restarts.
    n_members : int, default 1
        Networks in the ensemble; they train together in one batch.
    bagging : bool, default False
        Bootstrap of sequences for each member.
    convergence_threshold : float, default 1e-7
        See `TrainingConfig`.
    patience : int, optional
        Epochs without better validation loss until training stops.
    spice_library_polynomial_degree : int, default 1
        Degree of candidate terms.
    spice_optim_threshold : float, default 0.03
        Threshold of the sparse regression.
    spice_optim_regularization : float, default 0.1
        Ridge penalty of the sparse regression.
    spice_structure : {"population", "participant"}, default "participant"
        One structure for everybody or one per participant.
    spice_criterion : {"aic", "bic"}, default "aic"
        What a term must gain; see `required_gain`.
    spice_significance : float, default 0.001
        Level of the likelihood-ratio test that goes with it.
    spice_participant_id : int, optional
        Fit only this participant code.
    device : str, default "cpu"
        Torch device of RNN training.
    random_state : int, default 0
        Seed; the global random state is left alone.
    verbose : bool, default False
        Print progress lines.
    progress : callable, optional
        Called with (stage, done, total, message) instead.

    Attributes
    ----------
    rnn_model_ : BaseRNN
        Trained model.
    training_ : TrainingResult
        Losses and why training stopped.
    sparse_ : EquationSet
        Sparse regression on the RNN's trajectories.
    equations_ : EquationSet
        Selected structure with maximum-likelihood estimates.
    refit_ : RefitResult
        Estimates with covariances and flags.

    Examples
    --------
    >>> from spicestat.precoded import LearningRateRNN, LEARNING_RATE_RNN_CONFIG
    >>> from spicestat.simulate import simulate_cohort
    >>> from spicestat.trials import read_trials
    >>> trials = read_trials(simulate_cohort(2, 120, n_blocks=2).trials, block="block")
    >>> data = SequenceDataset.from_trials(trials)
    >>> estimator = SpiceEstimator(LearningRateRNN, LEARNING_RATE_RNN_CONFIG, epochs=20)
    >>> p_rnn, p_spice = estimator.fit(data.xs, data.ys).predict(data.xs)
    >>> p_spice.shape
    (4, 59, 2)
    """

    def __init__(
        self,
        rnn_class: type[BaseRNN],
        spice_config: SpiceConfig,
        *,
        hidden_size: int = 8,
        dropout: float = 0.25,
        embedding_size: int | None = None,
        n_actions: int = 2,
        n_participants: int = 0,
        n_experiments: int = 0,
        epochs: int = 128,
        learning_rate: float = 5e-3,
        batch_size: int | None = None,
        n_steps_per_call: int | None = None,
        l2_weight_decay: float = 1e-4,
        scheduler: bool = False,
        n_members: int = 1,
        bagging: bool = False,
        convergence_threshold: float = 1e-7,
        patience: int | None = None,
        spice_library_polynomial_degree: int = 1,
        spice_optim_threshold: float = 0.03,
        spice_optim_regularization: float = 0.1,
        spice_structure: Structure = "participant",
        spice_criterion: Criterion = "aic",
        spice_significance: float = 0.001,
        spice_participant_id: int | None = None,
        device: str = "cpu",
        random_state: int = 0,
        verbose: bool = False,
        progress: Progress | None = None,
    ) -> None:
        self.rnn_class = rnn_class
        self.spice_config = spice_config
        self.hidden_size = hidden_size
        self.dropout = dropout
        self.embedding_size = embedding_size
        self.n_actions = n_actions
        self.n_participants = n_participants
        self.n_experiments = n_experiments
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.n_steps_per_call = n_steps_per_call
        self.l2_weight_decay = l2_weight_decay
        self.scheduler = scheduler
        self.n_members = n_members
        self.bagging = bagging
        self.convergence_threshold = convergence_threshold
        self.patience = patience
        self.spice_library_polynomial_degree = spice_library_polynomial_degree
        self.spice_optim_threshold = spice_optim_threshold
        self.spice_optim_regularization = spice_optim_regularization
        self.spice_structure = spice_structure
        self.spice_criterion = spice_criterion
        self.spice_significance = spice_significance
        self.spice_participant_id = spice_participant_id
        self.device = device
        self.random_state = random_state
        self.verbose = verbose
        self.progress = progress

    def fit(
        self,
        conditions: ArrayLike,
        targets: ArrayLike,
        conditions_val: ArrayLike | None = None,
        targets_val: ArrayLike | None = None,
    ) -> SpiceEstimator:
        """Train the RNN and find the equations.

        Parameters
        ----------
        conditions : array of shape (S, T, F)
            Features; see `SequenceDataset.from_arrays`.
        targets : array of shape (S, T, A)
            Next choices, one-hot.
        conditions_val, targets_val : arrays, optional
            Validation data; with them the weights of the best validation loss are kept.

        Returns
        -------
        SpiceEstimator
            Itself.
        """
        if (conditions_val is None) != (targets_val is None):
            raise ConfigError("validation needs both conditions_val and targets_val", do="pass both or neither")
        data = SequenceDataset.from_arrays(conditions, targets, self.n_participants, self.n_experiments)
        validation = None
        if conditions_val is not None and targets_val is not None:
            validation = SequenceDataset.from_arrays(conditions_val, targets_val, data.n_participants)
        return self.fit_dataset(data, validation)

    def fit_dataset(self, data: SequenceDataset, validation: SequenceDataset | None = None) -> SpiceEstimator:
        """Like `fit`, from a `SequenceDataset`."""
        if data.n_actions != self.n_actions:
            raise ShapeError("the data have another number of actions", got=data.n_actions, allowed=self.n_actions)
        training, sparse, device = self._training_config(), self._sparse_settings(), self._device()
        if self.spice_participant_id is not None:
            data = self._one_participant(data)
            validation = None if validation is None else self._one_participant(validation)
        report = self.progress or (_print_progress if self.verbose else None)
        model = self.build_model()
        trained = train(
            model.to(device),
            data.to(device=device),
            training,
            None if validation is None else validation.to(device=device),
            report,
        )
        found = discover(model.to("cpu"), data, self.spice_config, sparse, report)
        # all at once, so that an error above leaves an earlier fit whole
        self.rnn_model_: BaseRNN = model
        self.training_: TrainingResult = trained
        self.sparse_: EquationSet = found.sparse
        self.refit_: RefitResult = found.refit
        self.equations_: EquationSet = found.refit.equations
        present = found.refit.n_trials > 0
        unfinished = int((present & (~found.refit.converged | found.refit.unidentified)).sum())
        if unfinished:
            warnings.warn(
                f"{unfinished} of {int(present.sum())} participants have no identified estimate "
                "(see the columns 'converged' and 'at_bound'); their standard errors are missing.",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self

    def build_model(self) -> BaseRNN:
        """Return a new model with weights drawn from ``random_state``."""
        settings = BuildSettings(
            whole_number("hidden_size", self.hidden_size, 1),
            optional_whole_number("embedding_size", self.embedding_size, 1),
            real_number("dropout", self.dropout, 0.0, 1.0),
            whole_number("n_members", self.n_members, 1),
        )
        with torch.random.fork_rng(devices=[]), building(settings):
            torch.manual_seed(whole_number("random_state", self.random_state, 0))
            return self.rnn_class(
                n_actions=self.n_actions, n_participants=self.n_participants, n_experiments=self.n_experiments
            )

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
        data = SequenceDataset.from_arrays(conditions, anything, self.equations_.n_participants)
        fitted = np.flatnonzero(self.refit_.n_trials)
        unknown = sorted(set(data.participant.tolist()) - set(fitted.tolist()))
        if unknown:
            raise ShapeError("conditions hold participants that were not fitted", got=unknown, allowed=fitted.tolist())

        def probabilities(logits: Tensor) -> np.ndarray:
            values: np.ndarray = torch.where(
                data.valid[..., None], torch.softmax(logits.double(), dim=-1), torch.nan
            ).numpy()
            return values

        equations = equation_logits(self.rnn_model_, data, self.equations_)
        return probabilities(rnn_logits(self.rnn_model_, data)), probabilities(equations)

    def get_spice_features(self) -> dict[int, dict[str, dict[str, float]]]:
        """Return ``{participant: {module: {term: coefficient}}}`` of the terms in the equations."""
        self._check_fitted()
        equations = self.equations_
        features: dict[int, dict[str, dict[str, float]]] = {}
        for participant in np.flatnonzero(self.refit_.n_trials).tolist():
            modules: dict[str, dict[str, float]] = {}
            for position, (module, term) in enumerate(equations.terms):
                if equations.status[participant, position] != EXCLUDED:
                    modules.setdefault(module, {})[term] = float(equations.coefficients[participant, position])
            features[participant] = modules
        return features

    def print_spice_model(self, participant_id: int = 0) -> None:
        """Print a participant's equations."""
        self._check_fitted()
        if not 0 <= participant_id < self.equations_.n_participants:
            raise ConfigError(
                "no such participant", got=participant_id, allowed=f"0 to {self.equations_.n_participants - 1}"
            )
        print("\n".join(self.equations_.text(participant_id).values()))

    def _check_fitted(self) -> None:
        if not hasattr(self, "refit_"):
            raise NotFittedError("this SpiceEstimator is not fitted", do="call fit(conditions, targets) first")

    def _one_participant(self, data: SequenceDataset) -> SequenceDataset:
        wanted = torch.tensor(self.spice_participant_id)
        rows = torch.nonzero(data.participant == wanted).squeeze(1)
        if not len(rows):
            raise ConfigError(
                "spice_participant_id names no participant of the data",
                got=self.spice_participant_id,
                allowed=sorted(set(data.participant.tolist())),
            )
        return data.select(rows)

    def _device(self) -> torch.device:
        try:
            device = torch.device(self.device)
            torch.zeros(1, device=device)
        except (RuntimeError, TypeError, AssertionError) as error:
            raise ConfigError("this device cannot be used", got=self.device, do="pass device='cpu'") from error
        return device

    def _training_config(self) -> TrainingConfig:
        return TrainingConfig(
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            l2_weight_decay=self.l2_weight_decay,
            batch_size=self.batch_size,
            n_steps_per_call=self.n_steps_per_call,
            scheduler=self.scheduler,
            bagging=self.bagging,
            convergence_threshold=self.convergence_threshold,
            patience=self.patience,
            seed=self.random_state,
        )

    def _sparse_settings(self) -> SparseSettings:
        return SparseSettings(
            degree=self.spice_library_polynomial_degree,
            threshold=self.spice_optim_threshold,
            alpha=self.spice_optim_regularization,
            structure=self.spice_structure,
            criterion=self.spice_criterion,
            significance=self.spice_significance,
        )


def _print_progress(stage: str, done: int, total: int, message: str) -> None:
    if done == total or done % max(1, total // 20) == 0:
        print(f"{stage} {done}/{total}: {message}")
