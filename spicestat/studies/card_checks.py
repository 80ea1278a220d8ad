"""The checks of an audit card: each gives rows of value, threshold, flag and meaning."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from spicestat.errors import DataError, SpicestatWarning
from spicestat.fit.history import HistoryFit
from spicestat.fit.network_fit import SpiceFit
from spicestat.pooled.packed import Floats
from spicestat.studies.redrawn import Redrawn, RedrawnHistory
from spicestat.studies.redrawn_curves import redrawn_curves
from spicestat.studies.trade_offs import TradeOff, flat_direction, information_correlations, trade_offs

__all__ = [
    "Check",
    "choice_curves",
    "equivalent_states",
    "flat_directions",
    "inclusions",
    "information_of",
    "pairs_of_coefficients",
    "pairs_of_means",
    "recoveries",
    "scope",
    "structure_recoveries",
]

_RECOVERED, _BIAS = 0.7, 0.25
_TOGETHER, _LIKE, _FLAT = 0.97, 0.9, 1e-3
_FOUND = 0.5
_LEVEL = 0.05
_UNIDENTIFIED, _EXCLUDED = 0.2, 0.1
_LEAST_PEOPLE = 4


class Check(NamedTuple):
    """One row of the card."""

    check: str
    subject: str
    value: float
    threshold: float
    flag: bool
    meaning: str


def _named(term: tuple[str, str]) -> str:
    return ":".join(term)


# --- what can be recovered ------------------------------------------------------------------------------------------


def recoveries(study: Redrawn, n_simulations: int, rng: np.random.Generator) -> list[Check]:
    """Draw people, let them choose, estimate them; compare both for every coefficient."""
    terms = study.terms
    if not terms:
        return []
    true, found = [], []
    for _ in range(n_simulations):
        people = study.people(rng)
        with warnings.catch_warnings():
            # a simulated study may be hard to fit, which its estimates show
            warnings.simplefilter("ignore", SpicestatWarning)
            found.append(study.estimate(study.choose(people, rng)))
        true.append(people[:, : len(terms)])
    rows = []
    for k, term in enumerate(terms):
        rows += _recovery(_named(term), [one[:, k] for one in true], [one[:, k] for one in found])
    return rows


def _recovery(name: str, true: Sequence[Floats], found: Sequence[Floats]) -> list[Check]:
    pairs = [(t[np.isfinite(f)], f[np.isfinite(f)]) for t, f in zip(true, found, strict=True)]
    n_known = int(np.mean([len(t) for t, _ in pairs]))
    if min(len(t) for t, _ in pairs) < _LEAST_PEOPLE:
        told = f"in simulated studies, only {n_known} of {len(true[0])} people had an identified estimate"
        return [Check("recovery", name, math.nan, _RECOVERED, True, told)]
    r = float(np.mean([_correlation(t, f) for t, f in pairs]))
    sd = float(np.mean([t.std(ddof=1) for t, _ in pairs]))
    # people of a study share the error of its population, so that studies are what varies
    error = np.array([(f - t).mean() for t, f in pairs])
    away = float(error.mean()) / sd if sd > 0.0 else math.nan
    sure = len(error) > 1 and abs(error.mean()) > _sampling_error(error)
    left = "" if n_known == len(true[0]) else f" ({n_known} of {len(true[0])} people identified)"
    meaning = f"estimates of simulated people correlate {r:.2f} with what they had{left}"
    poor = not r >= _RECOVERED
    if poor:
        meaning += ": differences between single people say little, those between groups need more people"
    biased = bool(sure and not abs(away) <= _BIAS)
    side = "above" if away > 0 else "below"
    told = f"estimates lie {abs(away):.2f} SDs between people {side} the truth, on average"
    return [
        Check("recovery", name, r, _RECOVERED, poor, meaning),
        Check("bias", name, away, _BIAS, biased, told),
    ]


def _sampling_error(errors: Floats) -> float:
    """Half of the 95 % interval of a mean."""
    n = len(errors)
    return float(stats.t.ppf(0.975, n - 1) * errors.std(ddof=1) / math.sqrt(n))


def _correlation(one: Floats, other: Floats) -> float:
    if one.std() <= 0.0 or other.std() <= 0.0:
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])


# --- what cannot be told apart --------------------------------------------------------------------------------------


def information_of(fit: SpiceFit | HistoryFit) -> tuple[tuple[tuple[str, str], ...], Floats]:
    """Terms of K coefficients of people's own, and the information in everybody's choices at them, (N, K, K).

    Raises
    ------
    DataError
        Nothing is people's own.
    """
    likelihood = fit.choice_likelihood()
    table = fit.coefficients.wide("pooled" if isinstance(fit, HistoryFit) else "estimate")
    position = [fit.coefficients.terms.index(term) for term in likelihood.terms]
    at = np.nan_to_num(table.to_numpy(dtype="float64")[:, position])
    information = likelihood.derivatives(at.clip(likelihood.low, likelihood.high))[2]
    return likelihood.terms, np.asarray(information, dtype="float64")


def pairs_of_coefficients(fit: SpiceFit | HistoryFit) -> list[Check]:
    """Correlate every two coefficients of a person in what the choices say, and in the posterior."""
    try:
        terms, information = information_of(fit)
    except DataError:
        return []
    names = [_named(term) for term in terms]
    rows = _pair_rows("trade-off", names, trade_offs(information_correlations(information)), "a person's choices tell")
    if isinstance(fit, HistoryFit):
        covariance = fit.pooled.pooled_covariance
        sd = np.sqrt(np.einsum("nkk->nk", covariance))
        posterior = covariance / np.maximum(sd[:, :, None] * sd[:, None], np.finfo(float).tiny)
        rows += _pair_rows("trade-off, pooled", names, trade_offs(posterior), "choices and population tell")
    return rows


def pairs_of_means(fit: SpiceFit | HistoryFit) -> list[Check]:
    """Correlate every two means of the population, shared weights among them."""
    if not isinstance(fit, HistoryFit):
        return []
    covariance = fit.pooled.mean_covariance
    sd = np.sqrt(np.diag(covariance))
    known = sd > 0.0
    scale = np.where(known, sd, 1.0)
    correlations = np.where(np.outer(known, known), covariance / np.outer(scale, scale), np.nan)
    names = [_named(term) for term in fit.coefficients.terms]
    return _pair_rows("trade-off of means", names, trade_offs(correlations[None]), "all people's choices tell")


def _pair_rows(check: str, names: Sequence[str], pairs: Sequence[TradeOff], who: str) -> list[Check]:
    rows = []
    for pair in pairs:
        first, second, r = names[pair.first], names[pair.second], pair.correlation
        if not math.isfinite(r):
            continue
        flag = abs(r) >= _TOGETHER
        meaning = (
            f"{who} little more than what {first} and {second} make together: do not read them one by one"
            if flag
            else f"{who} them apart"
        )
        rows.append(Check(check, f"{first} ~ {second}", r, _TOGETHER, flag, meaning))
    return rows


def flat_directions(fit: SpiceFit | HistoryFit) -> list[Check]:
    """Find the direction that everybody's choices say least about."""
    try:
        terms, information = information_of(fit)
    except DataError:
        return []
    if len(terms) < 2:
        return []
    found = flat_direction(information)
    names = [_named(terms[position]) for position in found.members]
    flag = found.share <= _FLAT
    meaning = (
        f"some combination of {', '.join(names)} does not change the choices: a model without one of them says the same"
        if flag
        else "every combination of coefficients changes the choices"
    )
    return [Check("flat direction", " + ".join(names), found.share, _FLAT, flag, meaning)]


# --- which structures say the same ----------------------------------------------------------------------------------


def structure_recoveries(study: RedrawnHistory, n_simulations: int, rng: np.random.Generator) -> list[Check]:
    """Search for states in simulated choices; count how often each state, or one like it, is found."""
    names, like = study.fit.pooled.names, study.likeness >= _LIKE
    like[:, : len(names)] |= np.eye(len(names), dtype=bool)
    found = np.zeros(len(names))
    for _ in range(n_simulations):
        columns = study.structure_of(study.choose(study.people(rng), rng))
        found += like[:, list(columns)].any(axis=1)
    rows = []
    for name, share in zip(names, found / n_simulations, strict=True):
        flag = share < _FOUND
        meaning = f"searches on simulated choices find it, or a state like it, in {100 * share:.0f} %"
        if flag:
            meaning += ": whether it is in the equation hangs on chance"
        rows.append(Check("structure", f"beta:{name}", float(share), _FOUND, bool(flag), meaning))
    return rows


def inclusions(fit: SpiceFit) -> list[Check]:
    """Tell how much of the support that was compared has each term of the equations."""
    probability = fit.model.inclusion
    if probability is None:
        return []
    free = (fit.coefficients.frame["selected"].to_numpy()).reshape(probability.shape)
    rows = []
    for k, term in enumerate(fit.coefficients.terms):
        if not free[:, k].any():
            continue
        share = float(probability[free[:, k], k].mean())
        flag = share < _FOUND
        meaning = f"structures with this term have {100 * share:.0f} % of the support of all that were compared"
        rows.append(Check("structure", _named(term), share, _FOUND, flag, meaning))
    return rows


def equivalent_states(study: RedrawnHistory) -> list[Check]:
    """Find the state of the library, beside those of the fit, that is most like each state of the fit."""
    names, library = study.fit.pooled.names, study.library.names
    rows = []
    for k, name in enumerate(names):
        others = study.likeness[k, len(names) :]
        if not len(others):
            continue
        best = int(others.argmax())
        flag = bool(others[best] >= _TOGETHER)
        other = library[len(names) + best]
        meaning = (
            f"{other} would say the same: choices hardly decide between them" if flag else f"{other} is most like it"
        )
        rows.append(Check("equivalent state", f"beta:{name}", float(others[best]), _TOGETHER, flag, meaning))
    return rows


# --- what is predicted ----------------------------------------------------------------------------------------------


def choice_curves(study: Redrawn, rng: np.random.Generator) -> list[Check]:
    """Compare curves of repeated choices with those of choices that are drawn anew."""
    rows = []
    for name, table in redrawn_curves(study, rng).groupby("curve", sort=False):
        worst = table.iloc[int(table["p_value"].argmin())]
        flag = bool(worst["p_value"] < _LEVEL)
        meaning = (
            f"on trials {worst['trial_low']} to {worst['trial_high']}, {100 * worst['observed']:.0f} % were observed "
            f"and {100 * worst['predicted']:.0f} % are predicted"
            if flag
            else "observed shares are among those of simulated choices"
        )
        rows.append(Check("choice curve", str(name), float(worst["p_value"]), _LEVEL, flag, meaning))
    return rows


# --- what is claimed ------------------------------------------------------------------------------------------------


def scope(fit: SpiceFit | HistoryFit) -> list[Check]:
    """Say what the study says nothing, or little, about."""
    n_out, n_in = len(fit.trials.record["excluded"]), fit.trials.n_participants
    share_out = n_out / (n_out + n_in)
    told = f"{n_out} of {n_out + n_in} people are not in the fit, and nothing is said about them"
    rows = [Check("scope", "people left out", share_out, _EXCLUDED, share_out > _EXCLUDED, told)]
    share = fit.coefficients.share_unidentified
    if isinstance(fit, HistoryFit):
        return [*rows, *_history_scope(fit, share)]
    told = f"{100 * share:.0f} % of the people have a coefficient that their choices do not identify"
    rows.append(Check("scope", "people not identified", share, _UNIDENTIFIED, share > _UNIDENTIFIED, told))
    nll = fit.scores.set_index("model")["nll"]
    if {"refit", "shares"} <= set(nll.index):
        rows.append(_better_than_shares(float(nll["shares"] - nll["refit"]), "on the choices that were fitted"))
    return rows


def _history_scope(fit: HistoryFit, share: float) -> list[Check]:
    told = (
        f"the own choices of {100 * share:.0f} % of the people do not bound all of their weights: group models of own "
        "estimates leave these out, pooled ones do not"
    )
    rows = [Check("scope", "people whose own weights are not bounded", share, math.nan, False, told)]
    nll = fit.scores.set_index("model")["nll"]
    if math.isfinite(nll["left_out"]):
        rows.append(_better_than_shares(float(nll["shares"] - nll["left_out"]), "on blocks that were left out"))
    shared = fit.pooled.names[fit.pooled.n_own :]
    if shared:
        told = "nothing is said about how people differ in these: one weight is everybody's"
        rows.append(Check("scope", ", ".join(shared), float(len(shared)), math.nan, False, told))
    return rows


def _better_than_shares(gain: float, where: str) -> Check:
    flag = not gain > 0.0
    told = f"predicts {'no ' if flag else ''}better than choice shares {where} (nats per choice)"
    return Check("scope", "better than choice shares", gain, 0.0, flag, told)
