"""BaseRNN: the base class of models, whose modules run as small networks or as sparse equations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from spicestat.errors import ConfigError, ShapeError
from spicestat.models.choice_likelihood import choice_log_likelihood
from spicestat.models.module_equation import ModuleEquation
from spicestat.models.pieces import EnsembleEmbedding, ResidualModule, ScalingConstant
from spicestat.trials.features import FeatureLayout

__all__ = ["BaseRNN", "BuildSettings", "Call", "building"]

_STATE_LIMIT = 1e6
"""States are clamped here so that an unstable equation gives a bad likelihood and not NaN."""


@dataclass(frozen=True)
class BuildSettings:
    """Sizes that the estimator hands to a model, also to classes whose ``__init__`` ignores them."""

    hidden_size: int = 8
    embedding_size: int | None = None
    dropout: float = 0.0
    n_members: int = 1


_settings: ContextVar[BuildSettings | None] = ContextVar("spicestat_build_settings", default=None)


@contextmanager
def building(settings: BuildSettings) -> Iterator[None]:
    """Build models with these settings inside the ``with`` block."""
    token = _settings.set(settings)
    try:
        yield
    finally:
        _settings.reset(token)


@dataclass(frozen=True)
class Call:
    """One recorded call of a module: value, stacked inputs, next value and the cells it is about.

    Shapes (R, A), (R, A, n_inputs), (R, A), (R, A).
    """

    value: Tensor
    inputs: Tensor
    next_value: Tensor
    action: Tensor


class LogitSequence:
    """Collects the logits of each time step, by assignment ``logits[t] = ...``."""

    def __init__(self, n_steps: int) -> None:
        self._steps: list[Tensor | float] = [0.0] * n_steps

    def __len__(self) -> int:
        return len(self._steps)

    def __getitem__(self, step: int) -> Tensor | float:
        return self._steps[step]

    def __setitem__(self, step: int, logits: Tensor) -> None:
        self._steps[step] = logits

    def stack(self) -> Tensor:
        """Return all steps as one tensor (T, R, A)."""
        unset = [step for step, logits in enumerate(self._steps) if not isinstance(logits, Tensor)]
        if unset:
            raise ConfigError("forward() left time steps without logits", got=unset[:5], do="assign logits[timestep]")
        return torch.stack([logits for logits in self._steps if isinstance(logits, Tensor)])


class BaseRNN(nn.Module):
    """Base of all models: states per action, modules that update them, logits from them.

    A subclass sets modules up in ``__init__`` (`setup_module`, `setup_embedding`,
    `setup_constant`, hard-coded equations in `submodules_eq`) and writes ``forward`` with
    `init_forward_pass`, `record_signal`, `call_module` and `post_forward_pass`. The same
    ``forward`` then runs with networks or, in `equations`, with sparse equations.

    Parameters
    ----------
    n_actions : int
        Number of actions A, at least 2.
    embedding_size : int, optional
        Length of the embeddings. Default 0, which means none; an estimator's own setting wins.

    Attributes
    ----------
    init_values : dict of str to float
        State names and their value at the start of a sequence (class attribute).
    sees_counterfactual : bool
        Whether modules get the rewards of actions that were not chosen (class attribute, default False).
    bounds : dict of str to (float, float)
        Range of those `betas` that are not inverse temperatures, which the refit respects (class attribute).
    starts : dict of str to float
        Starting values for these that the refit tries, among others (class attribute).
    needs_times : bool
        Whether `log_likelihood` needs response times (class attribute).
    reward_units : dict of str to int, or None
        Powers of the unit of reward in all modules, signals and states that equations are made of: 1 for values and
        rewards, 0 for pure numbers such as rates (class attribute). Rewards can then be divided by one number
        inside, and coefficients be reported in the unit of the data. None, the default, says that units are unknown:
        rewards are used as they are.
    centred_states : sequence of str
        States that start in the middle of the range of the rewards, if the fit knows it (class attribute).
    submodules_rnn : ModuleDict
        Networks by module name.
    submodules_eq : dict
        Hard-coded equations ``f(value, inputs)`` by module name, with value (R, A) and inputs
        (R, A, n_inputs).
    betas : ModuleDict
        Scaling constants by state name.
    state : dict of str to Tensor
        Current values, each of shape (R, A).

    Notes
    -----
    Where an input of a module is NaN (the chosen action's reward or an additional input was not
    observed), the module keeps its value. Rewards of other actions that were not shown are 0, and NaN
    for a model that learns from them (`sees_counterfactual`).

    Source: Weinhardt, Eckstein & Musslick, PsyArXiv v86q5 (SPICE).

    Examples
    --------
    >>> from spicestat.models.precoded import RescorlaWagnerRNN
    >>> model = RescorlaWagnerRNN(n_actions=2)
    >>> xs = torch.tensor([[[1.0, 0, 1, 0, 0], [1, 0, 0, 0, 0]]])  # actions, rewards, participant
    >>> logits, state = model(xs, batch_first=True)
    >>> tuple(logits.shape), tuple(state["x_value_reward"].shape)
    ((1, 2, 2), (1, 2))
    """

    init_values: ClassVar[Mapping[str, float]] = {"x_value_reward": 0.5}
    sees_counterfactual: ClassVar[bool] = False
    bounds: ClassVar[Mapping[str, tuple[float, float]]] = {}
    starts: ClassVar[Mapping[str, float]] = {}
    needs_times: ClassVar[bool] = False
    reward_units: ClassVar[Mapping[str, int] | None] = None
    centred_states: ClassVar[Sequence[str]] = ()

    def __init__(self, n_actions: int, embedding_size: int = 0, **_unused: Any) -> None:
        super().__init__()
        if n_actions < 2:
            raise ConfigError("a model needs at least two actions", got=n_actions)
        settings = _settings.get() or BuildSettings()
        self.n_actions = n_actions
        self.hidden_size = settings.hidden_size
        self.dropout = settings.dropout
        self.n_members = settings.n_members
        self.embedding_size = embedding_size if settings.embedding_size is None else settings.embedding_size
        self.submodules_rnn = nn.ModuleDict()
        self.submodules_eq: dict[str, Callable[[Tensor, Tensor], Tensor]] = {}
        self.betas = nn.ModuleDict()
        self.state: dict[str, Tensor] = {}
        self.recording: dict[str, list[Tensor]] | None = None
        self.calls: dict[str, list[Call]] | None = None
        self._equations: Mapping[str, ModuleEquation] = {}
        self._signals_missing = False
        self._own_starts: dict[str, float] = {}

    @property
    def start_values(self) -> dict[str, float]:
        """Values of the states at the start of a block: `init_values`, or what `start_in_unit` made of them."""
        return {**self.init_values, **self._own_starts}

    def start_in_unit(self, unit: float, middle: float | None) -> None:
        """Set where states start when rewards are divided by ``unit`` and their range then has this ``middle``.

        Centred states start in the middle, if there is one; other values that are in the unit of reward are divided
        by it.
        """
        for name, power in (self.reward_units or {}).items():
            if name in self.centred_states and middle is not None:
                self._own_starts[name] = middle
            elif power and name in self.init_values:
                self._own_starts[name] = float(self.init_values[name]) / unit**power

    def setup_module(self, input_size: int, hidden_size: int | None = None, dropout: float | None = None) -> nn.Module:
        """Return a network for ``submodules_rnn``; ``input_size`` counts inputs plus embedding, not the state."""
        return ResidualModule(
            input_size,
            self.hidden_size if hidden_size is None else hidden_size,
            self.dropout if dropout is None else dropout,
            self.n_members,
        )

    def setup_embedding(self, num_embeddings: int, embedding_size: int, dropout: float | None = None) -> nn.Module:
        """Return an embedding of participants or experiments."""
        return EnsembleEmbedding(
            num_embeddings, embedding_size, self.dropout if dropout is None else dropout, self.n_members
        )

    def setup_constant(self, embedding_size: int = 0) -> nn.Module:
        """Return a scaling constant, per participant where ``embedding_size`` is given."""
        return ScalingConstant(embedding_size, self.n_members)

    def init_forward_pass(
        self, inputs: Tensor, prev_state: Mapping[str, Tensor] | None, batch_first: bool
    ) -> tuple[tuple[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor], LogitSequence, range]:
        """Slice the features and set the states.

        Parameters
        ----------
        inputs : Tensor of shape (R, T, F), or (T, R, F) with ``batch_first=False``
            Features as in `SequenceDataset.from_arrays`.
        prev_state : mapping of str to Tensor, optional
            States to go on from; default: `init_values`.
        batch_first : bool
            Which of the two shapes.

        Returns
        -------
        (actions, rewards, blocks, additional_inputs), (participant_id, experiment_id), logits, timesteps
            Signals of shape (T, R, .) and ids of shape (R, 1).
        """
        features = inputs.transpose(0, 1) if batch_first else inputs
        if features.ndim != 3:
            raise ShapeError("a model needs features of shape (sequences, steps, columns)", got=tuple(inputs.shape))
        layout = FeatureLayout(self.n_actions, int(features.shape[-1]))
        actions = torch.where(features[..., layout.actions] > 0, 1.0, 0.0).to(features.dtype)
        rewards = self._observed(actions, features[..., layout.rewards])
        additional = self._given(features[..., layout.actions], features[..., layout.inputs])
        participant = features[0, :, -1:].long()
        experiment = features[0, :, -2:-1].long() if layout.has_blocks else torch.zeros_like(participant)
        blocks = torch.nan_to_num(features[..., -3:-2]) if layout.has_blocks else torch.zeros_like(features[..., :1])
        self._start(features, prev_state)
        n_steps = int(features.shape[0])
        return (actions, rewards, blocks, additional), (participant, experiment), LogitSequence(n_steps), range(n_steps)

    def _observed(self, actions: Tensor, rewards: Tensor) -> Tensor:
        """Zero rewards that were not shown of actions that the model does not learn from; remember missing others."""
        missing = torch.isnan(rewards)
        unused = torch.zeros_like(missing) if self.sees_counterfactual else actions == 0
        self._signals_missing = bool((missing & ~unused).any())
        return torch.where(missing & unused, 0.0, rewards)

    def _given(self, raw_actions: Tensor, additional: Tensor) -> Tensor:
        """Zero the additional inputs on padding, and remember whether one is missing on a trial."""
        padding = torch.isnan(raw_actions).all(dim=-1, keepdim=True)
        missing = torch.isnan(additional)
        self._signals_missing |= bool((missing & ~padding).any())
        return torch.where(missing & padding, 0.0, additional)

    def _start(self, features: Tensor, prev_state: Mapping[str, Tensor] | None) -> None:
        n_rows = int(features.shape[1])
        for constant in self.betas.values():
            if isinstance(constant, ScalingConstant):
                constant.n_rows = n_rows
        if prev_state is not None:
            self.state = dict(prev_state)
        else:
            shape = (n_rows, self.n_actions)
            self.state = {name: features.new_full(shape, float(value)) for name, value in self.start_values.items()}

    def post_forward_pass(self, logits: LogitSequence, batch_first: bool) -> Tensor:
        """Stack the logits to (R, T, A), or (T, R, A) with ``batch_first=False``."""
        stacked = logits.stack()
        return stacked.transpose(0, 1) if batch_first else stacked

    def get_state(self) -> dict[str, Tensor]:
        """Return the current states, each of shape (R, A)."""
        return dict(self.state)

    def record_signal(self, key: str, signal: Tensor) -> None:
        """Remember a signal of this time step (R, A) when the model is recording."""
        if self.recording is not None:
            self.recording.setdefault(key, []).append(signal.detach().expand(-1, self.n_actions))

    def call_module(
        self,
        key_module: str,
        key_state: str,
        action: Tensor | None = None,
        inputs: Tensor | Sequence[Tensor] | None = None,
        participant_embedding: Tensor | None = None,
        participant_index: Tensor | None = None,
        activation_rnn: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Return the next values (R, A) of a state, zero where ``action`` is zero.

        Parameters
        ----------
        key_module : str
            Module to run: an equation where there is one, else a network or a hard-coded equation.
        key_state : str
            State that is updated.
        action : Tensor of shape (R, A), optional
            1 for the actions that the module updates, else 0. Default: all.
        inputs : Tensor of shape (R, A) or sequence of them, optional
            Control signals, in the order of the config's ``library_setup``.
        participant_embedding : Tensor of shape (R, E), optional
            Passed to networks only.
        participant_index : Tensor, optional
            Accepted for models written for SPICE, and not used: rows know their participant from the features.
        activation_rnn : callable, optional
            Applied to a network's output, which is then not a residual.

        Raises
        ------
        ConfigError
            There is no such module or state.
        """
        if key_state not in self.state:
            raise ConfigError(f"no state '{key_state}'", allowed=sorted(self.state), do="add it to init_values")
        value = self.state[key_state]
        signals = _as_signals(inputs, value)
        observed = _observed_cells(signals) if self._signals_missing else None
        if observed is not None:
            signals = [torch.nan_to_num(signal) for signal in signals]
        next_value = self._next_value(key_module, value, signals, participant_embedding, activation_rnn)
        if observed is not None:
            next_value = torch.where(observed, next_value, value)
        cells = torch.ones_like(value) if action is None else action
        self._record_call(key_module, value, signals, next_value, cells if observed is None else cells * observed)
        return next_value if action is None else next_value * action

    def _next_value(
        self,
        key: str,
        value: Tensor,
        signals: Sequence[Tensor],
        embedding: Tensor | None,
        activation: Callable[[Tensor], Tensor] | None,
    ) -> Tensor:
        if key in self._equations:
            return self._equations[key](value, signals).clamp(-_STATE_LIMIT, _STATE_LIMIT)
        if key in self.submodules_eq:
            stacked = torch.stack(list(signals), dim=-1) if signals else value.new_zeros((*value.shape, 0))
            return self.submodules_eq[key](value, stacked).clamp(-_STATE_LIMIT, _STATE_LIMIT)
        if key not in self.submodules_rnn:
            known = sorted({*self.submodules_rnn, *self.submodules_eq})
            raise ConfigError(f"no module '{key}'", allowed=known, do="set it up in __init__")
        features = [signal.unsqueeze(-1) for signal in signals]
        if embedding is not None and embedding.shape[-1]:
            features.append(embedding.unsqueeze(1).expand(-1, value.shape[1], -1))
        stacked = torch.cat(features, dim=-1) if features else value.new_zeros((*value.shape, 0))
        update: Tensor = self.submodules_rnn[key](value, stacked)
        return value + update if activation is None else activation(update)

    def _record_call(
        self, key: str, value: Tensor, signals: Sequence[Tensor], next_value: Tensor, cells: Tensor
    ) -> None:
        if self.calls is None or key not in self.submodules_rnn:
            return
        stacked = torch.stack(list(signals), dim=-1) if signals else value.new_zeros((*value.shape, 0))
        call = Call(value.detach(), stacked.detach(), next_value.detach(), cells.detach())
        self.calls.setdefault(key, []).append(call)

    @contextmanager
    def record(self) -> Iterator[tuple[dict[str, list[Tensor]], dict[str, list[Call]]]]:
        """Record signals and module calls of the forward passes inside the ``with`` block."""
        self.recording, self.calls = {}, {}
        try:
            yield self.recording, self.calls
        finally:
            self.recording, self.calls = None, None

    @contextmanager
    def equations(self, equations: Mapping[str, ModuleEquation], betas: Mapping[str, Tensor]) -> Iterator[None]:
        """Run these equations and inverse temperatures (R, 1) instead of the networks inside the ``with`` block."""
        constants = {name: cast(ScalingConstant, self.betas[name]) for name in betas}
        self._equations = equations
        try:
            for name, constant in constants.items():
                constant.row_values = betas[name]
            yield
        finally:
            self._equations = {}
            for constant in constants.values():
                constant.row_values = None

    def forward(
        self, inputs: Tensor, prev_state: Mapping[str, Tensor] | None = None, batch_first: bool = False
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Map features to logits and the last states; subclasses implement it."""
        raise NotImplementedError(f"{type(self).__name__} does not implement forward()")

    def log_likelihood(
        self, logits: Tensor, state: Mapping[str, Tensor], targets: Tensor, times: Tensor, mask: Tensor
    ) -> Tensor:
        """Log-likelihood of the targets, summed over the steps of each sequence.

        By default that of the choices under softmax(logits). A model that overrides it must treat steps
        independently of each other, given the logits and the last state.

        Parameters
        ----------
        logits : Tensor of shape (R, T, A)
            As `forward` gave them.
        state : mapping of str to Tensor of shape (R, A)
            The last state that came with them.
        targets : int Tensor of shape (R, T)
            Choices; any value where ``mask`` is False.
        times : Tensor of shape (R, T)
            Response times in seconds, NaN where there is none.
        mask : bool Tensor of shape (R, T)
            Choices that count.

        Returns
        -------
        Tensor of shape (R,)
        """
        return choice_log_likelihood(logits, targets, mask)


def _as_signals(inputs: Tensor | Sequence[Tensor] | None, value: Tensor) -> list[Tensor]:
    if inputs is None:
        return []
    given = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    return [signal if signal.shape == value.shape else signal.expand_as(value) for signal in given]


def _observed_cells(signals: Sequence[Tensor]) -> Tensor | None:
    if not signals:
        return None
    missing = torch.isnan(signals[0])
    for signal in signals[1:]:
        missing = missing | torch.isnan(signal)
    return ~missing
