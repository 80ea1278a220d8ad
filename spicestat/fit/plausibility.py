"""Plausibility checks: scores of a fit that cannot be true, or that are no better than guessing."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from spicestat.trials.sequences import SequenceDataset

__all__ = ["baseline_nll", "choice_shares_nll", "contradictions", "no_better", "without_history"]

_TOLERANCE = 1e-4
"""Nats per choice by which nothing is said to be worse."""

_MUCH = 0.05
"""Equations that run away are worse than the network that they were read off by more."""

_ENOUGH_CHOICES, _LEAST_GAIN = 2000, 2e-3
"""With fewer choices, chance decides whether left-out blocks are predicted by more than so many nats per choice."""

_SUSPECT = "suspect that rewards, blocks, stimuli or options were read in the wrong role, or in none"

_NAMES = {"rnn": "the network", "equations": "the equations read off the network", "refit": "the refitted equations"}


_REMEDY = {
    "rnn": "train it longer (epochs), or suspect that rewards, blocks or stimuli were read in the wrong role",
    "equations": "use the refitted ones only",
    "refit": "do not interpret them; suspect that rewards, blocks or stimuli were read in the wrong role",
}


def baseline_nll(data: SequenceDataset) -> dict[str, float]:
    r"""Negative log-likelihood per choice, in nats, of two models that know no history.

    ``"guessing"`` gives each of A actions the probability 1 / A, ``"shares"`` the share with which the participant
    chose it over all predicted choices, so that nobody predicts better without learning anything from trial to trial.

    Parameters
    ----------
    data : SequenceDataset

    Examples
    --------
    >>> from spicestat.simulate import simulate_cohort
    >>> from spicestat.trials import read_trials
    >>> found = baseline_nll(SequenceDataset.from_trials(read_trials(simulate_cohort(4, 80).trials, block="block")))
    >>> round(found["guessing"], 3), found["shares"] <= found["guessing"]
    (0.693, True)
    """
    mask = data.mask.numpy()
    who = np.broadcast_to(data.participant.numpy()[:, None], mask.shape)[mask]
    return choice_shares_nll(who, data.targets.numpy()[mask], data.n_participants, data.n_actions)


def choice_shares_nll(
    who: np.ndarray, choice: np.ndarray, n_participants: int, n_actions: int, offered: np.ndarray | None = None
) -> dict[str, float]:
    """Return what `baseline_nll` does, of R choices by participants ``who``, both int arrays of shape (R,).

    Where not all actions were on offer, ``offered`` (R, A) says which, and shares are those among them.

    Examples
    --------
    >>> round(choice_shares_nll(np.array([0, 0, 1, 1]), np.array([0, 0, 0, 1]), 2, 2)["shares"], 3)
    0.347
    """
    counts = np.zeros((n_participants, n_actions))
    np.add.at(counts, (who, choice), 1.0)
    total = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, total, out=np.ones_like(counts), where=counts > 0)
    if offered is None:
        return {"shares": float(-(counts * np.log(share)).sum() / counts.sum()), "guessing": math.log(n_actions)}
    among = share[who, choice] / (share[who] * offered).sum(axis=1)
    return {"shares": float(-np.log(among).mean()), "guessing": float(np.log(offered.sum(axis=1)).mean())}


def contradictions(nll: Mapping[str, float]) -> tuple[str, ...]:
    """Say in words what cannot be true, or is no result.

    Parameters
    ----------
    nll : mapping of str to float
        Negative log-likelihoods per choice: ``rnn``, ``equations``, ``refit``, and those of `baseline_nll`, which are
        missing (NaN) where the likelihood is not one of choices alone.

    Examples
    --------
    >>> contradictions({"rnn": 0.5, "equations": 0.51, "refit": 0.49, "shares": 0.69, "guessing": 0.693})
    ()
    >>> print(contradictions({"rnn": 0.5, "equations": 0.48, "refit": 0.49})[0][:89])
    the refitted equations predict worse (0.4900) than the equations read off the network (0.
    """
    found = []
    if nll["refit"] > nll.get("equations", math.nan) + _TOLERANCE:
        found.append(
            f"{_NAMES['refit']} predict worse ({nll['refit']:.4f}) than {_NAMES['equations']} "
            f"({nll['equations']:.4f}), which have more or other terms: look at both, or let "
            'criterion="evidence" decide'
        )
    shares, guessing = nll.get("shares", math.nan), nll.get("guessing", math.nan)
    for model in [name for name in _NAMES if name in nll]:
        # what was read off a network that learned nothing needs no word of its own
        bound = max(shares, nll.get("rnn", shares)) if model == "equations" else shares
        # a comparison with NaN, a baseline that is not known, is False
        if nll[model] > bound + _MUCH * (model == "equations") + _TOLERANCE or not math.isfinite(nll[model]):
            predicts = "predicts" if model == "rnn" else "predict"
            found.append(
                f"{_NAMES[model]} {predicts} worse ({nll[model]:.4f} nats per choice) than everybody's choice shares "
                f"do without any history ({shares:.4f}; guessing {guessing:.4f}): {_REMEDY[model]}"
            )
    return tuple(found)


def without_history(nll: Mapping[str, float], n_choices: int, n_shares: int) -> tuple[str, ...]:
    """Say in words where states of the past predict no better than nothing.

    Parameters
    ----------
    nll : mapping of str to float
        Negative log-likelihoods per choice: ``history``, ``left_out`` (NaN if nothing was), ``shares``, ``guessing``.
    n_choices : int
        Number of choices.
    n_shares : int
        Number of free choice shares of everybody.

    Examples
    --------
    >>> without_history({"history": 0.5, "left_out": 0.52, "shares": 0.69, "guessing": 0.693}, 5000, 20)
    ()
    >>> found = without_history({"history": 0.69, "left_out": 0.693, "shares": 0.69, "guessing": 0.693}, 5000, 20)
    >>> print(found[0][:75])
    blocks that are left out are predicted no better (0.6930 nats per choice) t
    """
    worse = no_better("the weighted states predict", nll["history"], nll, n_choices, n_shares)
    if worse:
        return worse
    bound, others = _bound(nll, n_choices, n_shares)
    if n_choices >= _ENOUGH_CHOICES and nll["left_out"] > bound - _LEAST_GAIN:
        return (
            f"blocks that are left out are predicted no better ({nll['left_out']:.4f} nats per choice) than without "
            f"any history ({others}): {_SUSPECT}",
        )
    return ()


def no_better(what: str, value: float, nll: Mapping[str, float], n_choices: int, n_shares: int) -> tuple[str, ...]:
    """Say in words where something predicts choices worse than nothing; ``value`` is its own, all else as above.

    Examples
    --------
    >>> no_better("the model predicts", 0.5, {"shares": 0.69, "guessing": 0.693}, 5000, 20)
    ()
    """
    bound, others = _bound(nll, n_choices, n_shares)
    if not value > bound + _TOLERANCE:
        return ()
    return (
        f"{what} worse ({value:.4f} nats per choice) than is done without any history ({others}): do not interpret "
        f"them; {_SUSPECT}",
    )


def _bound(nll: Mapping[str, float], n_choices: int, n_shares: int) -> tuple[float, str]:
    """Return how well choices are predicted without any history, and how, in words."""
    # shares are fitted to the choices that they predict, and gain half a nat per parameter by it
    bound = min(nll["shares"] + n_shares / max(n_choices, 1), nll["guessing"])
    return bound, f"choice shares {nll['shares']:.4f}, guessing {nll['guessing']:.4f}"
