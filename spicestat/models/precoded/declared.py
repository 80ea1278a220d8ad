"""Models declared as data: named states, modules and inputs, saved as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from spicestat.errors import ConfigError
from spicestat.models.config import SpiceConfig
from spicestat.models.precoded.participant_model import ParticipantModel, delta_rule

__all__ = ["DeclaredModel", "ModelDeclaration", "ModuleDeclaration"]

_SIGNALS = ("c_action", "c_reward")
_KINDS, _CELLS = ("value", "rate"), ("all", "chosen", "not_chosen")

Kind = Literal["value", "rate"]
Cells = Literal["all", "chosen", "not_chosen"]


@dataclass(frozen=True)
class ModuleDeclaration:
    r"""One module of a declared model: an unknown update that the network learns and an equation replaces.

    Parameters
    ----------
    name : str
        Name of the module, which is also that of its coefficients.
    target : str
        State that it updates.
    inputs : sequence of str, default ()
        What the update may depend on besides its own state: ``"c_action"`` (1 for the chosen action, else 0),
        ``"c_reward"``, ``"c_<column>"`` for an additional input of the model, or the name of a state, whose value
        before the trial then counts, under the name ``c_`` instead of ``x_``.
    kind : {"value", "rate"}, default "value"
        ``"value"``: the equation gives the next value of the target. ``"rate"``: it gives the rate :math:`\alpha`
        with which the target moves towards ``toward``, :math:`V \leftarrow V + \alpha (u - V)`.
    cells : {"all", "chosen", "not_chosen"}, default "all"
        Actions whose values are updated on a trial; the others keep theirs.
    toward : str, default "c_reward"
        Signal :math:`u` that a rate leads to.

    Raises
    ------
    ConfigError
        ``kind`` or ``cells`` is unknown, or a name is not text.
    """

    name: str
    target: str
    inputs: Sequence[str] = ()
    kind: Kind = "value"
    cells: Cells = "all"
    toward: str = "c_reward"

    def __post_init__(self) -> None:
        for role in ("name", "target", "toward"):
            _checked_text(f"`{role}` of a module", getattr(self, role))
        if not self.name.isidentifier():
            raise ConfigError("a module's name must be a plain name", got=self.name, allowed="letters, digits and _")
        for role, value, allowed in (("kind", self.kind, _KINDS), ("cells", self.cells, _CELLS)):
            if value not in allowed:
                raise ConfigError(
                    f"unknown `{role}` of the module '{self.name}'", got=value, allowed=", ".join(allowed)
                )
        object.__setattr__(self, "inputs", _texts(f"`inputs` of '{self.name}'", self.inputs))


@dataclass(frozen=True)
class ModelDeclaration:
    """A model declared as data; `spice_fit` takes it as ``model``, and a saved fit holds it as JSON.

    Each state has one value per action. On every trial all modules see the values from before the trial. The log
    odds of the next choice are the sum of the visible states, those in ``betas`` times an inverse temperature that
    is estimated; the others are in units of log odds.

    Parameters
    ----------
    modules : sequence of ModuleDeclaration
        In the order in which they are shown.
    states : mapping of str to float
        States and their values at the start of a block.
    betas : sequence of str, optional
        States with an inverse temperature. Default: the first one.
    hidden : sequence of str, default ()
        States that do not affect choices directly.
    inputs : sequence of str, default ()
        Columns of the trials that modules may use, as ``c_<column>``.
    counterfactual : bool, default False
        Whether ``c_reward`` has the rewards of actions that were not chosen, where they were shown.
    name : str, default "declared"
        Name of the model in the fit.

    Raises
    ------
    ConfigError
        A name is unknown or used twice, or two modules update the same values.

    Examples
    --------
    >>> model = ModelDeclaration(
    ...     modules=[ModuleDeclaration("x_learning_rate", "x_value", kind="rate", cells="chosen")],
    ...     states={"x_value": 0.5},
    ... )
    >>> rnn_class, config = model.build()
    >>> sorted(rnn_class(n_actions=2).submodules_rnn), list(config.rnn_modules)
    (['x_learning_rate'], ['x_learning_rate'])
    >>> ModelDeclaration.from_dict(model.to_dict()) == model
    True
    """

    modules: Sequence[ModuleDeclaration]
    states: Mapping[str, float] | Sequence[tuple[str, float]]
    betas: Sequence[str] | None = None
    hidden: Sequence[str] = ()
    inputs: Sequence[str] = ()
    counterfactual: bool = False
    name: str = "declared"

    def __post_init__(self) -> None:
        # tuples throughout, so that equal declarations are one and the same class
        put = object.__setattr__
        put(self, "states", _states(self.states))
        put(self, "modules", tuple(self.modules))
        put(self, "betas", self._state_names[:1] if self.betas is None else _texts("`betas`", self.betas))
        put(self, "hidden", _texts("`hidden`", self.hidden))
        put(self, "inputs", _texts("`inputs`", self.inputs))
        put(self, "counterfactual", bool(self.counterfactual))
        _checked_text("`name`", self.name)
        self._check_names()
        for module in self.modules:
            self._check_module(module)
        self._check_cells()
        self._check_choices()

    # kept, as a network asks on every trial
    @cached_property
    def _state_names(self) -> tuple[str, ...]:
        return tuple(dict(self.states))

    @cached_property
    def signals(self) -> Mapping[str, str]:
        """What modules may name as input, and the term that it becomes."""
        return {
            **{signal: signal for signal in (*_SIGNALS, *(f"c_{column}" for column in self.inputs))},
            **{state: f"c_{state.removeprefix('x_')}" for state in self._state_names},
        }

    @cached_property
    def covered(self) -> Mapping[str, tuple[Cells, ...]]:
        """Which cells of a state its modules update, one after another."""
        return {
            state: tuple(module.cells for module in self.modules if module.target == state)
            for state in self._state_names
        }

    @cached_property
    def reward_units(self) -> Mapping[str, int] | None:
        """Powers of the unit of reward in all names, as in `BaseRNN.reward_units`; None where they contradict.

        A rate leads its target to what it leads to, so both are in the same unit. A visible state without an inverse
        temperature is in log odds, one with it in the unit of reward unless it is led to something else.
        """
        known = {signal: int(signal == "c_reward") for signal in self.signals}
        rates = [module for module in self.modules if module.kind == "rate"]
        led = {module.target for module in rates}
        known |= {state: int(state in (self.betas or ()) and state not in led) for state in self._state_names}
        for _ in self._state_names:
            known |= {module.target: known[module.toward] for module in rates}
        in_log_odds = [state for state in self.visible if state not in (self.betas or ())]
        if any(known[state] for state in in_log_odds):
            return None
        if any(known[module.target] != known[module.toward] for module in rates):
            return None
        modules = {module.name: 0 if module.kind == "rate" else known[module.target] for module in self.modules}
        return {**known, **{term: known[name] for name, term in self.signals.items()}, **modules}

    @cached_property
    def visible(self) -> tuple[str, ...]:
        """States that the choices are made of."""
        return tuple(state for state in self._state_names if state not in self.hidden)

    def build(self) -> tuple[type[DeclaredModel], SpiceConfig]:
        """Return the model class and its config, the same ones for equal declarations."""
        return _built(self)

    def to_dict(self) -> dict[str, Any]:
        """Return plain dicts, lists, strings and numbers, which JSON can hold."""
        return asdict(self) | {
            "modules": [asdict(module) | {"inputs": list(module.inputs)} for module in self.modules],
            "states": [list(pair) for pair in self.states],
            **{name: list(getattr(self, name)) for name in ("betas", "hidden", "inputs")},
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> ModelDeclaration:
        """Make a declaration from what `to_dict` returned.

        Raises
        ------
        ConfigError
            An entry is missing, unknown or of the wrong kind.
        """
        try:
            modules = [ModuleDeclaration(**dict(module)) for module in stored["modules"]]
            return cls(**{**dict(stored), "modules": modules})
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            if isinstance(error, ConfigError):
                raise
            raise ConfigError(
                f"a model cannot be made of this declaration: {error}",
                allowed="modules (name, target, inputs, kind, cells, toward), states, betas, hidden, inputs, "
                "counterfactual, name",
            ) from error

    def _check_names(self) -> None:
        if not self.modules or not self.states:
            raise ConfigError("a model needs at least one module and one state")
        names = [module.name for module in self.modules]
        # a rate is a state, too; a value module may be called like its state
        names += [state for state in self._state_names if state not in self._own_names]
        for kind, given in (("modules and states", names), ("terms", list(self.signals.values()))):
            twice = sorted({name for name in given if given.count(name) > 1})
            if twice:
                raise ConfigError(f"two {kind} have the same name", got=", ".join(twice), do="rename one of them")
        for role in ("betas", "hidden"):
            _check_known(f"`{role}`", getattr(self, role), self._state_names)

    @property
    def _own_names(self) -> set[str]:
        return {module.name for module in self.modules if module.kind == "value" and module.name == module.target}

    def _check_module(self, module: ModuleDeclaration) -> None:
        _check_known(f"`target` of '{module.name}'", [module.target], self._state_names)
        allowed = [signal for signal in self.signals if module.kind == "rate" or signal != module.target]
        _check_known(f"`inputs` of '{module.name}'", module.inputs, allowed)
        if len(set(module.inputs)) < len(module.inputs):
            raise ConfigError(f"`inputs` of '{module.name}' has a name twice", got=list(module.inputs))
        if module.kind == "rate":
            _check_known(f"`toward` of '{module.name}'", [module.toward], list(self.signals))

    def _check_cells(self) -> None:
        """Refuse two modules that would both set a value."""
        for target, given in self.covered.items():
            if len(given) > 1 and sorted(given) != ["chosen", "not_chosen"]:
                raise ConfigError(
                    f"several modules update the same values of '{target}'",
                    got=list(given),
                    allowed="one module, or one for the chosen action and one for the others",
                )

    def _check_choices(self) -> None:
        shadowed = sorted(set(self.hidden) & set(self.betas or ()))
        if shadowed:
            raise ConfigError("hidden states have no inverse temperature", got=shadowed, do="take them out of one")
        if not self.visible:
            raise ConfigError("all states are hidden, so nothing drives the choices")


class DeclaredModel(ParticipantModel):
    """A `BaseRNN` that does what its class's `declaration` says; made by `ModelDeclaration.build`."""

    declaration: ClassVar[ModelDeclaration]

    def __init__(
        self, n_actions: int, n_participants: int = 0, embedding_size: int = 4, n_experiments: int = 0
    ) -> None:
        super().__init__(n_actions, n_participants, embedding_size, n_experiments)
        for module in self.declaration.modules:
            self.setup_network(module.name, n_inputs=len(module.inputs))
            if module.kind == "rate":
                self.submodules_eq[_delta(module)] = delta_rule
        for state in self.declaration.betas or ():
            self.betas[state] = self.setup_constant(self.embedding_size)

    def forward(
        self, inputs: Tensor, prev_state: Mapping[str, Tensor] | None = None, batch_first: bool = False
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Map features (R, T, F) to logits (R, T, A) and the last states; see `BaseRNN`."""
        (actions, rewards, _, additional), ids, logits, steps = self.init_forward_pass(inputs, prev_state, batch_first)
        given = len(self.declaration.inputs)
        if additional.shape[-1] != given:
            raise ConfigError(
                "the data and the model have different numbers of additional inputs",
                got=int(additional.shape[-1]),
                allowed=f"{given}: {', '.join(self.declaration.inputs) or 'none'}",
                do="pass the same columns as `inputs` to the model and to the fit",
            )
        embedding = self.embed(ids[0])
        betas = {state: self.betas[state](embedding) for state in self.betas}
        for step in steps:
            self._advance(self._signals(actions[step], rewards[step], additional[step]), embedding)
            logits[step] = self._log_odds(betas)
        return self.post_forward_pass(logits, batch_first), self.get_state()

    def _signals(self, action: Tensor, reward: Tensor, additional: Tensor) -> dict[str, Tensor]:
        """All signals (R, A) of one trial by the names that modules use, as they are before the update."""
        columns = {
            f"c_{column}": additional[:, i : i + 1].expand(-1, self.n_actions)
            for i, column in enumerate(self.declaration.inputs)
        }
        states = {state: self.state[state] for state in self.declaration._state_names}
        signals = {"c_action": action, "c_reward": reward, **columns, **states}
        for name, term in self.declaration.signals.items():
            self.record_signal(term, signals[name])
        return signals

    def _advance(self, signals: Mapping[str, Tensor], embedding: Tensor | None) -> None:
        action = signals["c_action"]
        after: dict[str, Tensor] = {}
        rates: dict[str, Tensor] = {}
        for module in self.declaration.modules:
            value, rate = self._updated(module, signals, embedding)
            after[module.target] = after[module.target] + value if module.target in after else value
            if rate is not None:
                rates[module.name] = rate
        for target, value in after.items():
            covered = self.declaration.covered[target]
            if covered == ("chosen",):
                after[target] = value + (1 - action) * self.state[target]
            elif covered == ("not_chosen",):
                after[target] = value + action * self.state[target]
        self.state = {**self.state, **after, **rates}

    def _updated(
        self, module: ModuleDeclaration, signals: Mapping[str, Tensor], embedding: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Next values (R, A) of the module's target, 0 outside its cells, and its rate if it has one."""
        action = signals["c_action"]
        cells = {"all": None, "chosen": action, "not_chosen": 1 - action}[module.cells]
        inputs = [signals[name] for name in module.inputs]
        if module.kind == "value":
            return self.call_module(module.name, module.target, cells, inputs, participant_embedding=embedding), None
        rate = self.call_module(
            module.name,
            module.name,
            cells,
            inputs,
            participant_embedding=embedding,
            activation_rnn=torch.sigmoid,
        )
        return self.call_module(_delta(module), module.target, cells, (signals[module.toward], rate)), rate

    def _log_odds(self, betas: Mapping[str, Tensor]) -> Tensor:
        first, *others = (
            self.state[state] * betas[state] if state in betas else self.state[state]
            for state in self.declaration.visible
        )
        for state in others:
            first = first + state
        return first


@lru_cache(maxsize=256)
def _built(declaration: ModelDeclaration) -> tuple[type[DeclaredModel], SpiceConfig]:
    rates = {module.name: 0.0 for module in declaration.modules if module.kind == "rate"}
    members = {
        "__module__": __name__,
        "__doc__": f"The declared model '{declaration.name}'.",
        "declaration": declaration,
        "init_values": {**dict(declaration.states), **rates},
        "sees_counterfactual": declaration.counterfactual,
        "reward_units": declaration.reward_units,
    }
    config = SpiceConfig(
        rnn_modules=[module.name for module in declaration.modules],
        control_parameters=list(declaration.signals.values()),
        library_setup={
            module.name: [declaration.signals[name] for name in module.inputs] for module in declaration.modules
        },
    )
    return type("DeclaredRNN", (DeclaredModel,), members), config


def _delta(module: ModuleDeclaration) -> str:
    return f"{module.name}_delta"


def _states(given: Mapping[str, float] | Sequence[tuple[str, float]]) -> tuple[tuple[str, float], ...]:
    pairs = given.items() if isinstance(given, Mapping) else given
    try:
        states = tuple((name, float(value)) for name, value in pairs)
    except (TypeError, ValueError) as error:
        raise ConfigError("`states` must give every state a starting value", got=given) from error
    for name, _ in states:
        _checked_text("a state's name", name)
    return states


def _texts(what: str, given: Sequence[str]) -> tuple[str, ...]:
    if isinstance(given, str):
        raise ConfigError(f"{what} must be a list of names", got=repr(given), do="put it into brackets")
    return tuple(_checked_text(what, name) for name in given)


def _checked_text(what: str, value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{what} must be text", got=repr(value))
    return value


def _check_known(what: str, given: Sequence[str], allowed: Sequence[str]) -> None:
    unknown = [name for name in given if name not in allowed]
    if unknown:
        raise ConfigError(f"{what} has unknown names", got=", ".join(unknown), allowed=", ".join(allowed))
