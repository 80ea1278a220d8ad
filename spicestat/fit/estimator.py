"""SpiceEstimator: the scikit-learn interface to network training and equation discovery."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from sklearn.base import BaseEstimator

from spicestat._checks import optional_whole_number, real_number, seed_number, whole_number
from spicestat._files.atomic import check_file_target
from spicestat._runtime.progress import Progress
from spicestat.equations.discover import SparseSettings, Structure, discover
from spicestat.equations.estimate.stand_ins import use_typical_embedding, with_typical_equations
from spicestat.equations.select.criteria import Criterion
from spicestat.equations.sparse import OPTIMIZERS
from spicestat.equations.sparse_tuning import tune_sparse
from spicestat.equations.trajectories import record_trajectories
from spicestat.errors import ConfigError, ConvergenceWarning, DataError, SuspiciousDataWarning, warn_user
from spicestat.fit.fitted_estimator import ArrayLike, FittedSpice, sequences
from spicestat.fit.fitted_model import Architecture, FittedModel
from spicestat.models.base import BaseRNN
from spicestat.models.config import SpiceConfig
from spicestat.training.config import TrainingConfig
from spicestat.training.loop import train
from spicestat.trials.sequences import SequenceDataset
from spicestat.trials.splits import split_by_time

__all__ = ["OF_ONE_RUN", "SpiceConfig", "SpiceEstimator"]

_LONG_BLOCK = 5000
OF_ONE_RUN = ("progress", "checkpoint", "save_path_rnn", "save_path_spice")
"""Settings of a single run, such as where it writes, which are not kept with what it made."""


class SpiceEstimator(FittedSpice, BaseEstimator):  # type: ignore[misc]
    """Fit an RNN to choices, replace its modules with sparse equations, and estimate these by likelihood.

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
        Sizes of the model's embeddings; 0 means no embedding. With 0 participants, all sequences count as those of one
        participant, with one equation for everybody.
    epochs : int, default 128
        Passes over the data.
    learning_rate : float, default 5e-3
        Learning rate of AdamW.
    batch_size, n_steps_per_call : int, optional
        Sequences per batch, and steps between updates. None or -1: all sequences at once, and whole sequences.
    train_test_ratio : float in (0, 1], default 1.0
        Share of each sequence that the network trains on; the rest selects its best weights. Ignored when
        validation data are given. Equations are estimated on all choices.
    l2_weight_decay : float, default 1e-4
        Weight decay.
    scheduler : bool, default False
        Cosine schedule with warm restarts.
    n_members : int, default 1
        Networks in the ensemble; they train together in one batch.
    bagging : bool, default False
        Whether each member trains on a bootstrap sample of sequences, drawn within participants.
    convergence_threshold : float, default 1e-7
        See `TrainingConfig`.
    patience : int, optional
        Epochs without a better validation loss after which training stops.
    spice_library_polynomial_degree : int, default 1
        Degree of candidate terms.
    spice_optimizer_type : {"STLSQ", "SR3_L1", "SR3_weighted_l1"} or pysindy optimizer, default "STLSQ"
        Optimizer of the sparse regression; see `sparse_regression`.
    spice_optim_threshold : float, default 0.03
        Threshold of the sparse regression.
    spice_optim_regularization : float, default 0.1
        Ridge penalty of the sparse regression (relaxation for SR3).
    use_optuna : bool, default False
        Whether Optuna tunes threshold and penalty, starting from these two; see `tune_sparse`.
    optuna_n_trials : int, default 50
        Optuna trials, per participant or for the population.
    spice_structure : {"population", "participant"}, default "participant"
        One structure for everybody or one per participant.
    spice_criterion : {"aic", "bic", "evidence", "cv"}, optional
        What decides between structures; see `select_structure`. Default: "evidence" for a structure per
        participant, "aic" for the population's.
    spice_significance : float, default 0.001
        Level of the likelihood-ratio test that "aic" and "bic" require as well.
    spice_stability : float in [0, 1], default 0.5
        With ensembles: share of the members in which the sparse regression must select a term of degree 2
        or more for it to be a candidate; constants and linear terms always are.
    spice_participant_id : int, optional
        Fit only this participant code.
    unseen_participants : {"error", "typical"}, default "error"
        What `predict` and `score` do for participants without training data: refuse, or use the mean
        embedding and the median coefficients of the most frequent structure (for cross-validation over
        participants).
    checkpoint : str or Path, optional
        Folder for the state of the network's training. An interrupted fit that is called again continues from there,
        and a finished network is not trained again; see `train`. Each fit needs a folder of its own.
    save_path_rnn, save_path_spice : str, optional
        Files to write after fitting, as `save_spice` does. Whether they can be written is checked before.
    device : str, default "cpu"
        Torch device of RNN training.
    random_state : int, default 0
        Seed; the global random state is left alone.
    verbose : bool, default False
        Print progress lines.
    progress : callable, optional
        Called with (stage, done, total, message) instead of printing.
    reward_unit : float, default 1.0
        What the rewards in the data were divided by; coefficients are reported in the original unit. Only for models
        that declare their `BaseRNN.reward_units`; `spice_fit` divides by the largest reward.
    reward_middle : float, optional
        Where values start, after the division, in models whose values start in the middle of the rewards
        (`BaseRNN.centred_states`). Default: the model's own start.

    Attributes
    ----------
    fitted_model_ : FittedModel
        All of the following in one frozen object.
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
    inclusion_ : ndarray of shape (P, K)
        Probability that a term is estimated in a participant's equation (a kept own state is not).
    stability_ : ndarray of shape (P, K)
        Share of ensemble members whose sparse regression selects the term.
    rnn_agent, spice_agent : AgentNetwork, AgentSpice
        Agents that play by the networks and by the equations.

    Examples
    --------
    >>> from spicestat.models.precoded import LearningRateRNN, LEARNING_RATE_RNN_CONFIG
    >>> from spicestat.simulate import simulate_cohort
    >>> from spicestat.trials import read_trials
    >>> trials = read_trials(simulate_cohort(2, 120, n_blocks=2).trials, block="block")
    >>> data = SequenceDataset.from_trials(trials)
    >>> estimator = SpiceEstimator(LearningRateRNN, LEARNING_RATE_RNN_CONFIG, n_participants=2, epochs=20)
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
        train_test_ratio: float = 1.0,
        l2_weight_decay: float = 1e-4,
        scheduler: bool = False,
        n_members: int = 1,
        bagging: bool = False,
        convergence_threshold: float = 1e-7,
        patience: int | None = None,
        spice_library_polynomial_degree: int = 1,
        spice_optimizer_type: Any = "STLSQ",
        spice_optim_threshold: float = 0.03,
        spice_optim_regularization: float = 0.1,
        use_optuna: bool = False,
        optuna_n_trials: int = 50,
        spice_structure: Structure = "participant",
        spice_criterion: Criterion | None = None,
        spice_significance: float = 0.001,
        spice_stability: float = 0.5,
        spice_participant_id: int | None = None,
        unseen_participants: Literal["error", "typical"] = "error",
        checkpoint: str | Path | None = None,
        save_path_rnn: str | Path | None = None,
        save_path_spice: str | Path | None = None,
        device: str | torch.device = "cpu",
        random_state: int = 0,
        verbose: bool = False,
        progress: Progress | None = None,
        reward_unit: float = 1.0,
        reward_middle: float | None = None,
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
        self.train_test_ratio = train_test_ratio
        self.l2_weight_decay = l2_weight_decay
        self.scheduler = scheduler
        self.n_members = n_members
        self.bagging = bagging
        self.convergence_threshold = convergence_threshold
        self.patience = patience
        self.spice_library_polynomial_degree = spice_library_polynomial_degree
        self.spice_optimizer_type = spice_optimizer_type
        self.spice_optim_threshold = spice_optim_threshold
        self.spice_optim_regularization = spice_optim_regularization
        self.use_optuna = use_optuna
        self.optuna_n_trials = optuna_n_trials
        self.spice_structure = spice_structure
        self.spice_criterion = spice_criterion
        self.spice_significance = spice_significance
        self.spice_stability = spice_stability
        self.spice_participant_id = spice_participant_id
        self.unseen_participants = unseen_participants
        self.checkpoint = checkpoint
        self.save_path_rnn = save_path_rnn
        self.save_path_spice = save_path_spice
        self.device = device
        self.random_state = random_state
        self.verbose = verbose
        self.progress = progress
        self.reward_unit = reward_unit
        self.reward_middle = reward_middle

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
            The estimator itself.
        """
        if (conditions_val is None) != (targets_val is None):
            raise ConfigError("validation needs both conditions_val and targets_val", do="pass both or neither")
        self._check_choices()
        data = sequences(conditions, targets, self.n_participants, self.n_experiments)
        validation = None
        if conditions_val is not None and targets_val is not None:
            validation = sequences(conditions_val, targets_val, data.n_participants)
        return self.fit_dataset(data, validation)

    def fit_dataset(self, data: SequenceDataset, validation: SequenceDataset | None = None) -> SpiceEstimator:
        """Like `fit`, from a `SequenceDataset`."""
        self._check_choices()
        for part in (data, validation):
            if part is not None:
                self._check_actions(part)
        for target in (self.save_path_rnn, self.save_path_spice):
            if target is not None:
                check_file_target(target)
        training, sparse, device = self._training_config(), self._sparse_settings(), self._device()
        if data.n_steps > _LONG_BLOCK:
            warn_user(
                f"the longest block has {data.n_steps:,} trials. A network goes through a block trial by trial, so "
                f"that {self.epochs} epochs may take hours. Try: name the column of blocks, or divide the "
                "block where people paused",
                SuspiciousDataWarning,
            )
        # only training leaves the CPU
        data = self._own_data(data.to("cpu"))
        validation = None if validation is None else self._own_data(validation.to("cpu"))
        report = self.progress or (_print_progress if self.verbose else None)
        model = self.architecture().build()
        # a config that does not fit the model must not be found after hours of training
        record_trajectories(model, data, self.spice_config)
        seen, held_out = self._train_test(data, validation)
        trained = train(
            model.to(device),
            seen.to(device=device),
            training,
            None if held_out is None else held_out.to(device=device),
            report,
            self.checkpoint,
        )
        model = model.to("cpu")
        use_typical_embedding(model, data)
        proposal = None
        if self.use_optuna:
            seed = training.seed
            tuned = tune_sparse(
                model, data, self.spice_config, sparse, self.optuna_n_trials, seed=seed, progress=report
            )
            proposal = tuned.equations
        found = discover(model, data, self.spice_config, sparse, report, sparse=proposal)
        # all at once, so that an error above leaves an earlier fit whole
        self.fitted_model_ = FittedModel(
            self.architecture(),
            model,
            trained,
            found.sparse,
            with_typical_equations(found.refit),
            found.inclusion,
            found.stability,
            self.settings(),
        )
        self._deterministic = True
        if self.save_path_rnn is not None or self.save_path_spice is not None:
            self.save_spice(self.save_path_rnn, self.save_path_spice)
        present = found.refit.n_trials > 0
        unfinished = int((present & (~found.refit.converged | found.refit.unidentified)).sum())
        if unfinished:
            warn_user(
                f"{unfinished} of {int(present.sum())} participants have no identified estimate "
                "(see the columns 'converged' and 'at_bound'); their standard errors are missing.",
                ConvergenceWarning,
            )
        return self

    def architecture(self) -> Architecture:
        """Return the settings that define the network."""
        return Architecture(
            self.rnn_class,
            self.spice_config,
            self.n_actions,
            self.n_participants,
            self.n_experiments,
            whole_number("hidden_size", self.hidden_size, 1),
            optional_whole_number("embedding_size", self.embedding_size, 1),
            real_number("dropout", self.dropout, 0.0, 1.0),
            whole_number("n_members", self.n_members, 1),
            seed_number(self.random_state, "random_state"),
            real_number("reward_unit", self.reward_unit, 0.0, low_included=False),
            None if self.reward_middle is None else real_number("reward_middle", self.reward_middle, -math.inf),
        )

    def settings(self) -> dict[str, Any]:
        """Return the settings that a fitted model keeps besides its architecture."""
        known = {*Architecture.__dataclass_fields__, *OF_ONE_RUN}
        return {name: value for name, value in self.get_params().items() if name not in known}

    def _check_choices(self) -> None:
        """Check the settings that no other part of the fit looks at, or looks at only after training."""
        if not (isinstance(self.rnn_class, type) and issubclass(self.rnn_class, BaseRNN)):
            raise ConfigError("rnn_class must be a subclass of BaseRNN", got=self.rnn_class)
        if not isinstance(self.spice_config, SpiceConfig):
            raise ConfigError("spice_config must be a SpiceConfig", got=self.spice_config)
        whole_number("n_actions", self.n_actions, 2)
        whole_number("n_participants", self.n_participants, 0)
        whole_number("n_experiments", self.n_experiments, 0)
        optional_whole_number("spice_participant_id", self.spice_participant_id, 0)
        seed_number(self.random_state, "random_state")
        named = isinstance(self.spice_optimizer_type, str)
        if self.use_optuna and not named:
            raise ConfigError(
                "use_optuna needs an optimizer by its name",
                got=self.spice_optimizer_type,
                allowed=", ".join(OPTIMIZERS),
            )
        if named and self.spice_optimizer_type != "STLSQ":
            real_number("spice_optim_regularization", self.spice_optim_regularization, 0.0, low_included=False)
        real_number("train_test_ratio", self.train_test_ratio, 0.0, 1.0, low_included=False, high_included=True)
        whole_number("optuna_n_trials", self.optuna_n_trials, 1)
        if self.unseen_participants not in ("error", "typical"):
            raise ConfigError(
                "unknown unseen_participants", got=self.unseen_participants, allowed="'error' or 'typical'"
            )

    def _own_data(self, data: SequenceDataset) -> SequenceDataset:
        """Select the participant to fit; without participants, all sequences are one participant's."""
        if self.spice_participant_id is not None:
            rows = torch.nonzero(data.participant == torch.tensor(self.spice_participant_id)).squeeze(1)
            if not len(rows):
                raise ConfigError(
                    "spice_participant_id is not a participant in the data",
                    got=self.spice_participant_id,
                    allowed=sorted(set(data.participant.tolist())),
                )
            data = data.select(rows)
        if not bool(data.mask.any()):
            raise DataError("the data hold no choice to predict")
        if self.n_participants == 0:
            return data.pooled()
        # the model knows them all, so a file with its equations must, too
        return replace(data, n_participants=max(data.n_participants, self.n_participants))

    def _train_test(
        self, data: SequenceDataset, validation: SequenceDataset | None
    ) -> tuple[SequenceDataset, SequenceDataset | None]:
        if validation is not None or self.train_test_ratio == 1.0:
            return data, validation
        split = split_by_time(data, self.train_test_ratio)
        # rounding may leave nothing to choose the best weights by
        return split.train, split.test if bool(split.test.mask.any()) else None

    def _device(self) -> torch.device:
        try:
            device = torch.device(self.device)
            torch.zeros(1, device=device).item()
        except (RuntimeError, TypeError, AssertionError, ImportError) as error:
            raise ConfigError("this device cannot be used", got=self.device, do="pass device='cpu'") from error
        return device

    def _training_config(self) -> TrainingConfig:
        return TrainingConfig(
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            l2_weight_decay=self.l2_weight_decay,
            batch_size=None if self.batch_size == -1 else self.batch_size,
            n_steps_per_call=None if self.n_steps_per_call == -1 else self.n_steps_per_call,
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
            # pysindy writes its results into the object, which is the caller's
            optimizer=copy.deepcopy(self.spice_optimizer_type),
            stability=self.spice_stability,
            structure=self.spice_structure,
            criterion=self._criterion(),
            significance=self.spice_significance,
        )

    def _criterion(self) -> Criterion:
        if self.spice_criterion is not None:
            return self.spice_criterion
        return "evidence" if self.spice_structure == "participant" else "aic"


def _print_progress(stage: str, done: int, total: int, message: str) -> None:
    if done == total or done % max(1, total // 20) == 0:
        print(f"{stage} {done}/{total}: {message}")
