"""What a report says in words: what states are, and how an analysis was done, for a paper's methods."""

from __future__ import annotations

import platform
from importlib.metadata import version

import spicestat
from spicestat.equations.structure.equation_set import BETA
from spicestat.fit.history import HistoryFit
from spicestat.fit.network_fit import SpiceFit
from spicestat.fit.task_fit import TaskFit
from spicestat.group.result import GroupResult
from spicestat.pooled.state_signals import KINDS
from spicestat.pooled.states import Signal, State
from spicestat.studies.card import CardResult

__all__ = ["methods", "state_in_words", "term_in_words"]


def state_in_words(declared: State) -> str:
    """Say what a state is.

    Examples
    --------
    >>> from spicestat.pooled.states import state
    >>> state_in_words(state("last", ("reward_rate", 0.8)))
    'last choice, times trace of rewards (keeps 0.8)'
    """
    return ", times ".join(_signal_in_words(signal) for signal in declared.signals)


def term_in_words(module: str, term: str, own_state: bool = False, constant: bool = False) -> str:
    """Say what a term of a module's equation does.

    Parameters
    ----------
    module, term : str
    own_state : bool, default False
        Whether the term is the module's own previous value.
    constant : bool, default False
        Whether the term is a constant of the model, such as a boundary, and not a state with an inverse temperature.

    Examples
    --------
    >>> term_in_words("x_value", "x_value", own_state=True)
    'share of the value that is kept from one trial to the next'
    >>> term_in_words("x_value", "c_reward"), term_in_words("beta", "x_value")
    ('added per unit of c_reward', 'how strongly choices follow x_value')
    """
    if module == BETA:
        return "constant of the choice rule" if constant else f"how strongly choices follow {term}"
    if own_state:
        return "share of the value that is kept from one trial to the next"
    return "value that is added on every trial" if term == "1" else f"added per unit of {term}"


def _signal_in_words(signal: Signal) -> str:
    told = {name: value for name, value in signal.as_dict().items() if name != "kind"}
    notes = [f"keeps {signal.keep:g}"] if "keep" in KINDS[signal.kind].takes else []
    if "back" in KINDS[signal.kind].takes:
        notes.append(f"{signal.back} choices ago")
    if "action" in KINDS[signal.kind].takes:
        notes.append(f"action {signal.action + 1}")
    notes += [
        f"{name.replace('_', ' ')}: {value}" for name, value in told.items() if name not in ("keep", "back", "action")
    ]
    return KINDS[signal.kind].about + (f" ({', '.join(notes)})" if notes else "")


def methods(
    fit: SpiceFit | HistoryFit | TaskFit, group: GroupResult | None, card: CardResult | None = None
) -> list[str]:
    """Write paragraphs that can be pasted into a paper's methods, with versions and references."""
    texts = [_model(fit)]
    if group is not None:
        who = f"{int(group.glance()['nobs'].max())} {'rows' if fit.coefficients.occasions else 'participants'}"
        texts.append(
            f"Coefficients were related to covariates by the model {group.formula} (method {group.method}, "
            f"{who}); p-values are adjusted by {group.adjust}."
        )
    if card is not None:
        texts.append(
            "Recovery of parameters and structure, trade-offs between coefficients and choice curves were checked in "
            f"simulated studies ({card.settings['n_simulations']}) of the same people and trials (Wilson & Collins, "
            "2019); "
            f"{len(card.flagged)} of {len(card.table)} checks were flagged."
        )
    texts.append(
        f"Analyses used spicestat {spicestat.__version__} (Python {platform.python_version()}, {_versions(fit)}). "
        "Its method follows SPICE (Weinhardt, Eckstein & Musslick, PsyArXiv v86q5)."
    )
    texts.append("References: " + " ".join(_references(fit, card is not None)))
    return texts


def _states(fit: HistoryFit) -> str:
    names, n_own = fit.pooled.names, fit.pooled.n_own
    own, shared = (", ".join(part) or "none" for part in (names[:n_own], names[n_own:]))
    text = f"States with weights of people's own: {own}; with the population's: {shared}."
    if fit.n_structures < 2:
        return text
    return (
        f"{text} What one event does to later choices was averaged over {fit.n_structures} structures, these states "
        "and those of searches without some of the people each; intervals hold what differs between them."
    )


def _versions(fit: SpiceFit | HistoryFit | TaskFit) -> str:
    packages = ["numpy", "scipy", "pandas", *(["torch", "pysindy"] if isinstance(fit, SpiceFit) else [])]
    return ", ".join(f"{name} {version(name)}" for name in packages)


def _references(fit: SpiceFit | HistoryFit | TaskFit, checked: bool) -> list[str]:
    spice = "Weinhardt, D., Eckstein, M., & Musslick, S. SPICE. PsyArXiv, https://doi.org/10.31234/osf.io/v86q5."
    brunton = (
        "Brunton, S. L., Proctor, J. L., & Kutz, J. N. (2016). Discovering governing equations from data. PNAS, 113, "
        "3932-3937. https://doi.org/10.1073/pnas.1517384113."
    )
    wilson = (
        "Wilson, R. C., & Collins, A. G. E. (2019). Ten simple rules for the computational modeling of behavioral "
        "data. eLife, 8, e49547. https://doi.org/10.7554/eLife.49547."
    )
    return [*([brunton] if isinstance(fit, SpiceFit) else []), spice, *([wilson] if checked else [])]


def _model(fit: SpiceFit | HistoryFit | TaskFit) -> str:
    trials = fit.trials
    who = f"{trials.n_participants} participants and {int(fit.glance()['nobs'].iloc[0])} choices"
    if isinstance(fit, TaskFit):
        return (
            f"Choices were modelled by the equations of {fit.task.source} ({fit.task.title}; {who}). The parameters of "
            "each participant come from one normal population, on logit and log scales where they are bounded, "
            "estimated together with them (expectation propagation)."
        )
    if isinstance(fit, HistoryFit):
        return (
            f"Choices were modelled by a mixed multinomial logit on states of choice history ({who}). States were "
            "chosen from a library by the likelihood of left-out blocks; the weights of each participant come from one "
            "population, estimated together with them by maximum marginal likelihood (Laplace approximation). "
            f"{_states(fit)}"
        )
    return (
        f"Choices were modelled by a recurrent network with an embedding of participants ({who}), whose modules were "
        "replaced by sparse difference equations (Brunton, Proctor & Kutz, 2016); the coefficients of each participant "
        "were estimated by maximum likelihood."
    )
