"""Agents that play a task one trial at a time, by the networks or the equations of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from spicestat.agents.simulation import Simulation, simulate_model
from spicestat.agents.stepper import Stepper
from spicestat.equations.structure.equation_set import BETA, EXCLUDED, FREE, EquationSet
from spicestat.errors import ConfigError
from spicestat.models.base import BaseRNN
from spicestat.simulate.arguments import action_index, rewards_per_action
from spicestat.simulate.base_agent import Agent

__all__ = ["AgentNetwork", "AgentSpice", "Simulation", "simulate_model"]

_NO_INFLUENCE = 1e-2
"""A state whose inverse temperature is smaller than this does not show in the choices."""


class AgentNetwork(Agent):
    """An agent that plays by a model's networks.

    Choice probabilities agree with those of `SpiceEstimator.predict` on the same trials. Members of an
    ensemble play together: their probabilities are averaged.

    Parameters
    ----------
    model_rnn : BaseRNN
        A trained model. The agent plays with a copy, which further training does not change.
    n_actions : int, optional
        Number of actions A; default: the model's.
    device : torch.device or str, default "cpu"
        Where to compute.
    deterministic : bool, default True
        Whether to choose the action with the largest logit, rather than draw one by its probability.
    seed : int, optional
        Default: NumPy's global state decides (``np.random.seed``).

    Attributes
    ----------
    state : dict of str to ndarray of shape (A,)
        The model's states.
    model : BaseRNN
        The copy.

    Raises
    ------
    ConfigError
        ``n_actions`` is not the model's.

    Examples
    --------
    >>> from spicestat.models.precoded import LearningRateRNN
    >>> agent = AgentNetwork(LearningRateRNN(n_actions=2, n_participants=3))
    >>> agent.new_sess(participant_id=2)
    >>> agent.get_choice_probs()
    array([0.5, 0.5])
    >>> agent.update(1, [0.0, 1.0])
    >>> sorted(agent.state)
    ['x_learning_rate_reward', 'x_value_reward']
    """

    def __init__(
        self,
        model_rnn: BaseRNN,
        n_actions: int | None = None,
        device: torch.device | str = "cpu",
        deterministic: bool = True,
        seed: int | None = None,
    ) -> None:
        self._start_playing(Stepper(model_rnn, device=device), n_actions, deterministic, seed)

    def _start_playing(self, run: Stepper, n_actions: int | None, deterministic: bool, seed: int | None) -> None:
        if n_actions not in (None, run.model.n_actions):
            raise ConfigError("the model has a different number of actions", got=n_actions, allowed=run.model.n_actions)
        self._run = run
        self._set_up({}, run.model.n_actions, 0.0, deterministic, seed)
        self.new_sess()

    @property
    def model(self) -> BaseRNN:
        """The agent's copy of the model."""
        return self._run.model

    def new_sess(
        self,
        participant_id: int = 0,
        experiment_id: int = 0,
        additional_embedding_inputs: Any = None,
        sample_parameters: bool = False,
    ) -> None:
        """Start a session: all states return to their initial values.

        Parameters
        ----------
        participant_id, experiment_id : int, default 0
            Codes from 0. A model that treats everybody alike ignores the participant.
        additional_embedding_inputs : array of shape (I,), optional
            Additional inputs of trials for which `update` gets none.
        sample_parameters : bool, default False
            Models have nothing to sample.

        Raises
        ------
        ConfigError
            There is no such participant, or ``sample_parameters`` is True.
        """
        if sample_parameters:
            raise ConfigError("an agent that plays by a model has no parameters to sample")
        self._random.new_session()
        self._run.start(
            np.array([int(participant_id)]), np.array([int(experiment_id)]), _as_row(additional_embedding_inputs)
        )
        self._read_state()

    def update(self, choice: int, reward: Any, block: int = 0, additional_inputs: Any = None) -> None:
        """Tell the model about one trial.

        Parameters
        ----------
        choice : int
            0 to A - 1; -1 if there was none.
        reward : array of shape (A,), or float
            Rewards per action, NaN where not shown, or the reward of the chosen action alone.
        block : int, default 0
            Block code.
        additional_inputs : array of shape (I,), optional
            Default: those of `new_sess`.

        Raises
        ------
        ConfigError
            The choice is not one of the actions.
        DataError
            The rewards have the wrong shape.
        """
        index = action_index(choice, self.n_actions, missing=True)
        # unlike simulated learners, models may be about rewards of any size: -1 is one, as in their training
        rewards = rewards_per_action(reward, index, self.n_actions)
        self._run.step(np.array([index]), rewards[None], int(block), _as_row(additional_inputs))
        self._read_state()

    def _read_state(self) -> None:
        self.state = {name: value[0].double().cpu().numpy() for name, value in self._run.state.items()}

    @property
    def q(self) -> np.ndarray:
        """Logits (A,) of the next choice."""
        logits: np.ndarray = self._run.logits[0].double().cpu().numpy()
        return logits

    def get_state_value(self, state: str, multiply_with_beta: bool = True) -> np.ndarray:
        """Return a state (A,); with ``multiply_with_beta``, times its inverse temperature if it has one.

        Raises
        ------
        ConfigError
            There is no such state.
        """
        value = super().get_state_value(state, multiply_with_beta=False)
        return value * self.get_betas().get(state, 1.0) if multiply_with_beta else value

    def get_betas(self) -> dict[str, float]:
        """Return the session's scaling constants by state name."""
        return {name: float(value[0, 0]) for name, value in self._run.betas.items()}

    def get_participant_ids(self) -> tuple[int, ...]:
        """Return the participant codes that the agent can play; ``(0,)`` if it treats everybody alike."""
        return tuple(range(self._run.n_participants))


class AgentSpice(AgentNetwork):
    """An agent that plays by equations in place of a model's networks.

    Parameters
    ----------
    model_rnn : BaseRNN
        The model that the equations belong to; it is copied.
    equations : EquationSet
        Equations of P participants, for example `SpiceEstimator.equations_`. With a model without participant
        embedding, the equations of a single participant count for everybody.
    n_actions : int, optional
        Number of actions A; default: the model's.
    deterministic : bool, default True
        Whether to choose the action with the largest logit, rather than draw one by its probability.
    participant_ids : sequence of int, optional
        Codes of the participants whose equations were found; default: all.
    seed : int, optional
        Default: NumPy's global state decides (``np.random.seed``).

    Attributes
    ----------
    state : dict of str to ndarray of shape (A,)
        The model's states.
    equations : EquationSet
        The equations.

    Raises
    ------
    ConfigError
        ``n_actions`` is not the model's, or a code has no equations.

    Examples
    --------
    >>> from spicestat.equations.sparse import polynomial_library
    >>> from spicestat.models.precoded import RescorlaWagnerRNN
    >>> library = polynomial_library("x_value_reward_chosen", ["c_reward"])
    >>> numbers = np.array([[0.0, 0.8, 0.6]])  # of 1, the own state and c_reward
    >>> equations = EquationSet((library,), (), numbers, (numbers != 0).astype("int8"))
    >>> agent = AgentSpice(RescorlaWagnerRNN(n_actions=2), equations)
    >>> agent.print_model(0)
    x_value_reward_chosen[k+1] = 0.800 x_value_reward_chosen[k] + 0.600 c_reward[k]
    >>> agent.update(0, [1.0, np.nan])
    >>> agent.q, agent.count_parameters()
    (array([0.6, 0. ]), {0: 2})
    """

    def __init__(
        self,
        model_rnn: BaseRNN,
        equations: EquationSet,
        n_actions: int | None = None,
        deterministic: bool = True,
        participant_ids: Sequence[int] | None = None,
        seed: int | None = None,
    ) -> None:
        known = range(equations.n_participants)
        self._participants = tuple(known if participant_ids is None else sorted(int(code) for code in participant_ids))
        unknown = [code for code in self._participants if code not in known]
        if unknown or not self._participants:
            raise ConfigError("participant_ids names no equations", got=unknown or [], allowed=f"0 to {len(known) - 1}")
        self.equations = equations
        self._start_playing(Stepper(model_rnn, equations), n_actions, deterministic, seed)

    def new_sess(
        self,
        participant_id: int | None = None,
        experiment_id: int = 0,
        additional_embedding_inputs: Any = None,
        sample_parameters: bool = False,
    ) -> None:
        """Start a session; see `AgentNetwork.new_sess`. Default participant: the first one with equations."""
        code = self._participants[0] if participant_id is None else int(participant_id)
        self._check(code)
        super().new_sess(code, experiment_id, additional_embedding_inputs, sample_parameters)

    def get_participant_ids(self) -> tuple[int, ...]:
        """Return the codes of the participants that have equations."""
        return self._participants

    def get_spice_features(
        self, mapping_modules_values: Mapping[str, str] | None = None
    ) -> dict[int, dict[str, dict[str, float]]]:
        """Return ``{participant: {module: {term: coefficient}}}`` of the terms in the equations.

        Parameters
        ----------
        mapping_modules_values : mapping of str to str, optional
            Modules and the states that they update, ``{"x_learning_rate_reward": "x_value_reward"}``. A module
            whose state has an inverse temperature below 0.01 in size does not show in a participant's
            choices, and is left out. Default: all modules count.

        Raises
        ------
        ConfigError
            The mapping names an unknown module or state.
        """
        features: dict[int, dict[str, dict[str, float]]] = {}
        for participant in self._participants:
            modules: dict[str, dict[str, float]] = {}
            for position in self._positions(participant, mapping_modules_values):
                module, term = self.equations.terms[position]
                modules.setdefault(module, {})[term] = float(self.equations.coefficients[participant, position])
            features[participant] = modules
        return features

    def count_parameters(self, mapping_modules_values: Mapping[str, str] | None = None) -> dict[int, int]:
        """Count each participant's estimated numbers: coefficients and inverse temperatures that are not 0.

        An own state that is simply kept has no estimated coefficient and does not count.

        Parameters
        ----------
        mapping_modules_values : mapping of str to str, optional
            As in `get_spice_features`.

        Raises
        ------
        ConfigError
            The mapping names an unknown module or state.
        """
        free = (self.equations.status == FREE) & (self.equations.coefficients != 0)
        return {
            participant: int(free[participant, self._positions(participant, mapping_modules_values)].sum())
            for participant in self._participants
        }

    def print_model(self, participant_id: int) -> None:
        """Print a participant's equations.

        Raises
        ------
        ConfigError
            The participant has no equations.
        """
        self._check(participant_id)
        row = participant_id if self.equations.n_participants > 1 else 0
        print("\n".join(self.equations.text(row).values()))

    def _check(self, code: int) -> None:
        everybody = self.equations.n_participants == 1 and not self._run.distinguishes
        if code not in self._participants and not everybody:
            raise ConfigError("this participant has no equations", got=code, allowed=list(self._participants))

    def _positions(self, participant: int, mapping: Mapping[str, str] | None) -> list[int]:
        """Terms in a participant's equations, without modules that do not show in the choices."""
        silent = self._silent_modules(participant, mapping or {})
        terms = np.flatnonzero(self.equations.status[participant] != EXCLUDED).tolist()
        return [position for position in terms if self.equations.terms[position][0] not in silent]

    def _silent_modules(self, participant: int, mapping: Mapping[str, str]) -> set[str]:
        modules = [library.module for library in self.equations.libraries]
        states = sorted({*self.state, *self.equations.states})
        for given, known in ((mapping.keys(), modules), (mapping.values(), states)):
            unknown = [name for name in given if name not in known]
            if unknown:
                raise ConfigError("mapping_modules_values names unknown modules or states", got=unknown, allowed=known)
        betas = {
            term: self.equations.coefficients[participant, position]
            for position, (module, term) in enumerate(self.equations.terms)
            if module == BETA
        }
        return {module for module, state in mapping.items() if abs(betas.get(state, 1.0)) < _NO_INFLUENCE}


def _as_row(inputs: Any) -> np.ndarray | None:
    """Additional inputs as (1, I); None stays None."""
    return None if inputs is None else np.asarray(inputs, dtype="float64").reshape(1, -1)
