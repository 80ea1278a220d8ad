"""SPICE's module names: after ``import spicestat.compat``, code with ``from spice...`` imports runs.

    import spicestat.compat
    from spice.estimator import SpiceEstimator
    from spice.resources.bandits import AgentQ, BanditsDrift, create_dataset

The names are spicestat's own objects, imported when they are first used.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from spicestat.errors import ConfigError

__all__ = ["install"]

_ESTIMATOR = {"SpiceConfig": "spicestat.models.config", "SpiceEstimator": "spicestat.fit.estimator"}
_PRECODED = dict.fromkeys(
    (
        "ASYMMETRIC_RNN_CONFIG",
        "CHOICE_RNN_CONFIG",
        "COUNTERFACTUAL_RNN_CONFIG",
        "DRIFT_DIFFUSION_CONFIG",
        "FORGETTING_RNN_CONFIG",
        "INTERACTION_RNN_CONFIG",
        "LEARNING_RATE_RNN_CONFIG",
        "RESCOLA_WAGNER_CONFIG",
        "RESCORLA_WAGNER_CONFIG",
        "WORKING_MEMORY_RNN_CONFIG",
        "AsymmetricRNN",
        "ChoiceRNN",
        "CounterfactualRNN",
        "DriftDiffusionRNN",
        "ForgettingRNN",
        "InteractionRNN",
        "LearningRateRNN",
        "ParticipantEmbeddingRNN",
        "RescorlaWagnerRNN",
        "WorkingMemoryRNN",
    ),
    "spicestat.models.precoded",
)
_BASE = {"BaseRNN": "spicestat.models.base"}
_AGENTS = {"AgentNetwork": "spicestat.agents.agents", "AgentSpice": "spicestat.agents.agents"}
_SESSIONS = dict.fromkeys(
    ("BanditSession", "create_dataset", "get_update_dynamics", "run_experiment"), "spicestat.spice.sessions"
)
_DATASET = {"DatasetRNN": "spicestat.spice.dataset"}
_FITTING = {"fit_spice": "spicestat.spice.fitting"}
_PLOT = {"plot_session": "spicestat.spice.session_plot"}

_MODULES: dict[str, dict[str, str]] = {
    "spice": {
        **_ESTIMATOR,
        **_BASE,
        **{name: home for name, home in _PRECODED.items() if name.endswith("RNN")},
    },
    "spice.estimator": _ESTIMATOR,
    "spice.precoded": {
        **_PRECODED,
        # names of autospice 0.2.0
        "CHOICE_CONFIG": "spicestat.models.precoded:CHOICE_RNN_CONFIG",
        "PARTICIPANT_EMBEDDING_RNN_CONFIG": "spicestat.models.precoded:LEARNING_RATE_RNN_CONFIG",
    },
    "spice.resources": {
        **_AGENTS,
        **_BASE,
        **_DATASET,
        **_FITTING,
        "create_dataset": "spicestat.spice.sessions",
    },
    "spice.resources.bandits": {
        **_AGENTS,
        **_SESSIONS,
        **_PLOT,
        "Agent": "spicestat.simulate",
        "AgentQ": "spicestat.simulate",
        "AgentQ_SampleZeros": "spicestat.simulate:AgentQSampleZeros",
        "Bandits": "spicestat.simulate",
        "BanditsDrift": "spicestat.simulate",
        "BanditsFlip": "spicestat.simulate",
        "BanditsFlip_eckstein2022": "spicestat.simulate:BanditsFlipEckstein2022",
        "BanditsSwitch": "spicestat.simulate",
        "Bandits_Standard": "spicestat.simulate:BanditsStandard",
    },
    "spice.resources.optimizer_selection": {"optimize_for_participant": "spicestat.spice.tuning"},
    "spice.resources.rnn": _BASE,
    "spice.resources.rnn_utils": {
        **_DATASET,
        "reshape_data_along_participantdim": "spicestat.spice.dataset_splits",
        "split_data_along_sessiondim": "spicestat.spice.dataset_splits",
        "split_data_along_timedim": "spicestat.spice.dataset_splits",
    },
    "spice.resources.sindy_training": _FITTING,
    "spice.utils": {},
    "spice.utils.convert_dataset": {"convert_dataset": "spicestat.spice.convert"},
    "spice.utils.plotting": _PLOT,
}
"""For each module, where its names live: a module of ours, or ``module:name`` under another name there."""


class _SeedModule(ModuleType):
    """A module of SPICE, whose names are looked up in spicestat on first use."""

    def __init__(self, name: str, homes: dict[str, str], is_package: bool) -> None:
        super().__init__(name, f"Names of SPICE's {name}, as implemented by spicestat.")
        self.__spec__ = ModuleSpec(name, None, origin="spicestat.compat", is_package=is_package)
        self.__all__ = sorted(homes)
        self._homes = homes
        if is_package:
            self.__path__: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self._homes:
            raise AttributeError(f"module '{self.__name__}' (spicestat.compat) has no attribute '{name}'")
        home, _, other_name = self._homes[name].partition(":")
        value = getattr(import_module(home), other_name or name)
        setattr(self, name, value)
        return value

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._homes})


def install() -> None:
    """Make SPICE's modules importable; ``import spicestat.compat`` does this, and twice is once.

    Raises
    ------
    ConfigError
        Another package called ``spice`` is imported or installed; it is never hidden.

    Examples
    --------
    >>> install()
    >>> from spice.resources.bandits import BanditsDrift
    >>> from spicestat.simulate import BanditsDrift as Ours
    >>> BanditsDrift is Ours
    True
    """
    present = sys.modules.get("spice")
    # by name, as a reload makes a new class
    if type(present).__name__ == _SeedModule.__name__:
        return
    _refuse_another(present)
    packages = {name.rpartition(".")[0] for name in _MODULES}
    made = {name: _SeedModule(name, homes, name in packages) for name, homes in _MODULES.items()}
    for name, module in made.items():
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(made[parent], child, module)
    sys.modules.update(made)


def _refuse_another(present: ModuleType | None) -> None:
    """Raise where ``import spice`` means something else."""
    if present is not None:
        raise ConfigError(
            "another package called 'spice' has been imported already",
            got=getattr(present, "__file__", None),
            do="start a new Python process and import spicestat.compat instead of it",
        )
    spec = find_spec("spice")
    # a folder that merely has this name and no __init__.py hides nothing
    if spec is not None and spec.origin is not None:
        raise ConfigError(
            "another package called 'spice' is installed, and spicestat.compat does not hide it",
            got=spec.origin,
            do="uninstall it (the package of SPICE is called autospice), or import from spicestat instead of spice",
        )


install()
