"""The interface of SPICE: datasets as tensors, sessions of agents, and the conversion of a trained network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spicestat._lazy import lazy_names

_HOMES = {
    "BanditSession": "spicestat.spice.sessions",
    "DatasetRNN": "spicestat.spice.dataset",
    "convert_dataset": "spicestat.spice.convert",
    "create_dataset": "spicestat.spice.sessions",
    "fit_spice": "spicestat.spice.fitting",
    "get_update_dynamics": "spicestat.spice.sessions",
    "optimize_for_participant": "spicestat.spice.tuning",
    "plot_session": "spicestat.spice.session_plot",
    "reshape_data_along_participantdim": "spicestat.spice.dataset_splits",
    "run_experiment": "spicestat.spice.sessions",
    "split_data_along_sessiondim": "spicestat.spice.dataset_splits",
    "split_data_along_timedim": "spicestat.spice.dataset_splits",
}

__all__ = [
    "BanditSession",
    "DatasetRNN",
    "convert_dataset",
    "create_dataset",
    "fit_spice",
    "get_update_dynamics",
    "optimize_for_participant",
    "plot_session",
    "reshape_data_along_participantdim",
    "run_experiment",
    "split_data_along_sessiondim",
    "split_data_along_timedim",
]

if TYPE_CHECKING:  # for type checkers and editors, which cannot follow names that are found when used
    from spicestat.spice.convert import convert_dataset as convert_dataset
    from spicestat.spice.dataset import DatasetRNN as DatasetRNN
    from spicestat.spice.dataset_splits import reshape_data_along_participantdim as reshape_data_along_participantdim
    from spicestat.spice.dataset_splits import split_data_along_sessiondim as split_data_along_sessiondim
    from spicestat.spice.dataset_splits import split_data_along_timedim as split_data_along_timedim
    from spicestat.spice.fitting import fit_spice as fit_spice
    from spicestat.spice.session_plot import plot_session as plot_session
    from spicestat.spice.sessions import BanditSession as BanditSession
    from spicestat.spice.sessions import create_dataset as create_dataset
    from spicestat.spice.sessions import get_update_dynamics as get_update_dynamics
    from spicestat.spice.sessions import run_experiment as run_experiment
    from spicestat.spice.tuning import optimize_for_participant as optimize_for_participant

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
