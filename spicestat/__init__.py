"""spicestat: discover learning equations, estimate them by likelihood, and compare people.

Names are imported when they are first used, so that a group analysis of a CSV needs no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from spicestat._lazy import lazy_names

__version__ = "0.1.0"

_HOMES = {
    "CoefficientTable": "spicestat.coefficients",
    "Discoveries": "spicestat.fit.discoveries",
    "GroupResult": "spicestat.group",
    "HistoryFit": "spicestat.fit.history",
    "Kernels": "spicestat.fit.kernels",
    "LadderResult": "spicestat.fit.ladder",
    "ModelDeclaration": "spicestat.models.precoded.declared",
    "ModuleDeclaration": "spicestat.models.precoded.declared",
    "SpiceConfig": "spicestat.models.config",
    "SpiceEstimator": "spicestat.fit.estimator",
    "SpiceFit": "spicestat.fit.network_fit",
    "TaskFit": "spicestat.fit.task_fit",
    "TrialTable": "spicestat.trials.reading",
    "load_fit": "spicestat.fit.loading",
    "load_group": "spicestat.group",
    "predict_choices": "spicestat.fit.predict",
    "progress_bars": "spicestat._runtime.bars",
    "read_coefficients": "spicestat.coefficients",
    "read_trials": "spicestat.trials.reading",
    "register_model": "spicestat.fit.storage",
    "simulate_cohort": "spicestat.simulate",
    "simulate_fit": "spicestat.fit.play",
    "spice_card": "spicestat.studies.card",
    "spice_compare": "spicestat.studies.compare",
    "spice_fit": "spicestat.fit.api",
    "spice_fit_split": "spicestat.fit.splitting",
    "spice_group": "spicestat.group",
    "spice_ladder": "spicestat.fit.ladder",
    "spice_power": "spicestat.studies.power",
    "spice_reliability": "spicestat.studies.reliability",
    "spice_report": "spicestat.report.report",
    "spice_task": "spicestat.tasks",
    "spice_update": "spicestat.fit.update",
}

__all__ = ["__version__", *_HOMES]

if TYPE_CHECKING:  # for type checkers and editors, which cannot follow __getattr__
    from spicestat._runtime.bars import progress_bars as progress_bars
    from spicestat.coefficients import CoefficientTable as CoefficientTable
    from spicestat.coefficients import read_coefficients as read_coefficients
    from spicestat.fit.api import spice_fit as spice_fit
    from spicestat.fit.discoveries import Discoveries as Discoveries
    from spicestat.fit.estimator import SpiceEstimator as SpiceEstimator
    from spicestat.fit.history import HistoryFit as HistoryFit
    from spicestat.fit.kernels import Kernels as Kernels
    from spicestat.fit.ladder import LadderResult as LadderResult
    from spicestat.fit.ladder import spice_ladder as spice_ladder
    from spicestat.fit.loading import load_fit as load_fit
    from spicestat.fit.network_fit import SpiceFit as SpiceFit
    from spicestat.fit.play import simulate_fit as simulate_fit
    from spicestat.fit.predict import predict_choices as predict_choices
    from spicestat.fit.splitting import spice_fit_split as spice_fit_split
    from spicestat.fit.storage import register_model as register_model
    from spicestat.fit.task_fit import TaskFit as TaskFit
    from spicestat.fit.update import spice_update as spice_update
    from spicestat.group import GroupResult as GroupResult
    from spicestat.group import load_group as load_group
    from spicestat.group import spice_group as spice_group
    from spicestat.models.config import SpiceConfig as SpiceConfig
    from spicestat.models.precoded.declared import ModelDeclaration as ModelDeclaration
    from spicestat.models.precoded.declared import ModuleDeclaration as ModuleDeclaration
    from spicestat.report.report import spice_report as spice_report
    from spicestat.simulate import simulate_cohort as simulate_cohort
    from spicestat.studies.card import spice_card as spice_card
    from spicestat.studies.compare import spice_compare as spice_compare
    from spicestat.studies.power import spice_power as spice_power
    from spicestat.studies.reliability import spice_reliability as spice_reliability
    from spicestat.tasks import spice_task as spice_task
    from spicestat.trials.reading import TrialTable as TrialTable
    from spicestat.trials.reading import read_trials as read_trials


__getattr__, __dir__ = lazy_names(__name__, _HOMES)
