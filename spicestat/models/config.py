"""SpiceConfig: which modules a model has and which signals each module's equation may use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from spicestat.errors import ConfigError

__all__ = ["Filter", "SpiceConfig"]

Filter = tuple[str, float, bool]
"""(signal, value, keep): keep the trials on which ``signal == value`` (or, with False, drop them)."""


@dataclass(frozen=True)
class SpiceConfig:
    """The sparse-equation side of a model.

    Parameters
    ----------
    rnn_modules : sequence of str
        Names of the RNN modules that equations replace.
    control_parameters : sequence of str
        Names of the control signals (inputs) that the model records.
    library_setup : mapping of str to sequence of str
        For each module, its control signals in the order in which the model's
        ``call_module(inputs=(...))`` passes them.
    filter_setup : mapping of str to filter or sequence of filters
        For each module, ``[signal, value, keep]``: the trials that its equation is about.
        Default: the actions for which the module is called.

    Raises
    ------
    ConfigError
        A name contradicts the others.

    Examples
    --------
    >>> config = SpiceConfig(
    ...     rnn_modules=["x_value"], control_parameters=["c_action", "c_reward"],
    ...     library_setup={"x_value": ["c_reward"]}, filter_setup={"x_value": ["c_action", 1, True]})
    >>> config.filters("x_value")
    (('c_action', 1.0, True),)
    """

    rnn_modules: Sequence[str]
    control_parameters: Sequence[str] = ()
    library_setup: Mapping[str, Sequence[str]] = field(default_factory=dict)
    filter_setup: Mapping[str, Sequence[object]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.rnn_modules or len(set(self.rnn_modules)) != len(self.rnn_modules):
            raise ConfigError("rnn_modules must name each module once", got=list(self.rnn_modules))
        for setup, name in ((self.library_setup, "library_setup"), (self.filter_setup, "filter_setup")):
            unknown = [module for module in setup if module not in self.rnn_modules]
            if unknown:
                raise ConfigError(f"{name} names unknown modules", got=unknown, allowed=list(self.rnn_modules))
        for module, signals in self.library_setup.items():
            unknown = [signal for signal in signals if signal not in self.control_parameters]
            if unknown:
                raise ConfigError(
                    f"library_setup of '{module}' names unknown signals",
                    got=unknown,
                    allowed=list(self.control_parameters),
                )
        for module in self.filter_setup:
            self.filters(module)

    def signals(self, module: str) -> tuple[str, ...]:
        """Control signals of a module's equation, in the order of its inputs."""
        return tuple(self.library_setup.get(module, ()))

    def filters(self, module: str) -> tuple[Filter, ...]:
        """Return a module's filters as (signal, value, keep) triples; one triple or a list of them is accepted."""
        given = self.filter_setup.get(module, ())
        if not given:
            return ()
        triples = [given] if isinstance(given[0], str) else given
        return tuple(self._filter(module, triple) for triple in triples)

    def _filter(self, module: str, triple: object) -> Filter:
        known = set(self.control_parameters) | set(self.rnn_modules)
        if not isinstance(triple, Sequence) or len(triple) != 3 or triple[0] not in known:
            raise ConfigError(
                f"filter_setup of '{module}' must be [signal, value, keep]", got=triple, allowed=sorted(known)
            )
        signal, value, keep = triple
        return str(signal), float(value), bool(keep)
