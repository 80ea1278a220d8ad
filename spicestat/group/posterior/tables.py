"""From posterior draws to the tables of a group result and an ArviZ InferenceData."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from spicestat.group.inputs.contract import GroupEstimates, Posterior
from spicestat.group.posterior.engine import Chains, load_arviz
from spicestat.group.posterior.sampling import MAX_RHAT, MIN_ESS

__all__ = ["PosteriorDraws", "collect_draws", "converged", "label_array"]

Values = tuple[tuple[str, ...], np.ndarray]
"""Names of an array's dimensions, and the array."""

_STATS = ("diverging", "n_steps", "acceptance_rate", "energy", "step_size")


@dataclass(frozen=True)
class PosteriorDraws:
    """Draws of a Bayesian group model: C chains of D draws, N participants, d equation terms, p covariates.

    Attributes
    ----------
    chains : Chains
        Sampler statistics.
    gamma : ndarray of shape (C, D, p, d)
        Fixed effects on the link scale.
    sd : ndarray of shape (C, D, d)
        Standard deviations between participants.
    correlation : ndarray of shape (C, D, d, d)
    theta : ndarray of shape (C, D, N, d)
        Participants' coefficients on the link scale.
    log_likelihood : ndarray of shape (C, D, N)
        Of each participant's data, own coefficients integrated out.
    design : ndarray of shape (N, p)
    participants : tuple of length N
        Labels.
    correlated : bool
        Whether the model has correlations.
    """

    chains: Chains
    gamma: np.ndarray
    sd: np.ndarray
    correlation: np.ndarray
    theta: np.ndarray
    log_likelihood: np.ndarray
    design: np.ndarray
    participants: tuple[Any, ...]
    correlated: bool


def converged(rhat: np.ndarray, ess_bulk: np.ndarray, ess_tail: np.ndarray, n_divergent: int) -> bool:
    """Whether all R-hat are below 1.01, all effective sample sizes above 400, and no draw diverged.

    References
    ----------
    Vehtari et al. (2021), https://doi.org/10.1214/20-BA1221.

    Examples
    --------
    >>> converged(np.array([1.001]), np.array([900.0]), np.array([800.0]), 0)
    True
    >>> converged(np.array([np.nan]), np.array([900.0]), np.array([800.0]), 0)
    False
    """
    mixed = bool((rhat < MAX_RHAT).all())
    return mixed and bool((ess_bulk > MIN_ESS).all() and (ess_tail > MIN_ESS).all()) and n_divergent == 0


def collect_draws(
    posterior: PosteriorDraws,
    keys: Sequence[tuple[str, str]],
    names: Sequence[str],
    *,
    conf_level: float,
    n_excluded: int,
    share_unidentified: float,
    data: Mapping[str, Values],
    observed: Mapping[str, Values] | None = None,
    reported: Sequence[tuple[str, str]] | None = None,
    links: Mapping[tuple[str, str], str] | None = None,
    messages: tuple[str, ...] = (),
    approximation: pd.DataFrame | None = None,
) -> GroupEstimates:
    """Summarise a posterior as the tables of a group result.

    Parameters
    ----------
    posterior : PosteriorDraws
    keys : sequence of (module, sparse_term), length d
    names : sequence of str, length p
        Coefficient names of the design matrix.
    conf_level : float
        Of the equal-tailed posterior intervals.
    n_excluded : int
        Participants of the coefficient table who are not in the model.
    share_unidentified : float
        Share of participants, in [0, 1], without an identified estimate.
    data, observed : mapping of str to (dims, ndarray)
        Constant and observed data of the InferenceData, by dimension names.
    reported : sequence of (module, sparse_term), optional
        Equation terms of the tables; the InferenceData, the joint covariance and convergence are of all. Default: all.
    links : mapping, optional
        Link of each equation term.
    messages, approximation : optional
        Passed on.
    """
    fixed, spread = _fixed(posterior, keys, names, conf_level), _spread(posterior, keys, conf_level)
    p, d = len(names), len(keys)
    flat = posterior.gamma.reshape(-1, p, d).transpose(0, 2, 1).reshape(-1, d * p)
    joint = np.cov(flat, rowvar=False).reshape(d * p, d * p)
    index = pd.MultiIndex.from_tuples(
        [(*key, name) for key in keys for name in names], names=["module", "sparse_term", "term"]
    )
    blocks = {key: joint[k * p : (k + 1) * p, k * p : (k + 1) * p] for k, key in enumerate(keys)}
    columns = ["module", "sparse_term", "term", "prob_direction", "mcse_mean", "rhat", "ess_bulk", "ess_tail"]
    found = Posterior(
        _inference_data(posterior, keys, names, data, observed or {}),
        pd.concat([fixed[columns], spread.reindex(columns=columns)], ignore_index=True),
        approximation,
    )
    shown = ["module", "sparse_term", "group", "term", "estimate", "std_error", "conf_low", "conf_high"]
    kept = list(keys) if reported is None else [key for key in keys if key in set(reported)]
    covariance = pd.DataFrame(joint, index=index, columns=index)
    return GroupEstimates(
        fixed=_only(fixed, kept).drop(columns="mcse_mean"),
        ran_pars=_only(spread, kept)[shown],
        glance=_glance(posterior, fixed, spread, n_excluded, share_unidentified),
        covariance={key: blocks[key] for key in kept},
        messages=messages,
        ran_vals=_only(_deviations(posterior, keys), kept),
        joint_covariance=covariance,
        links={key: link for key, link in (links or {}).items() if link != "identity"},
        posterior=found,
    )


def label_array(labels: Sequence[Any]) -> np.ndarray:
    """Return participants' labels as a coordinate, those of several types as what they are.

    Examples
    --------
    >>> label_array([1, "1"]).tolist(), label_array([1, 2]).dtype.kind
    ([1, '1'], 'i')
    """
    values = np.asarray(labels)
    if values.tolist() != list(labels):
        values = np.empty(len(labels), dtype=object)
        values[:] = labels
    return values


def equation_label(key: tuple[str, str]) -> str:
    """Return how an equation term is called in coordinates and correlations."""
    return f"{key[0]}:{key[1]}"


def _only(frame: pd.DataFrame, keys: Sequence[tuple[str, str]]) -> pd.DataFrame:
    pairs = zip(frame["module"], frame["sparse_term"], strict=True)
    return frame[[pair in keys for pair in pairs]].reset_index(drop=True)


def _summary(draws: np.ndarray, level: float) -> dict[str, float]:
    """Summarise draws (C, D) of one number."""
    az = load_arviz()
    low, high = np.quantile(draws, [0.5 - level / 2.0, 0.5 + level / 2.0])
    several = len(draws) > 1
    return {
        "estimate": float(draws.mean()),
        "std_error": float(draws.std(ddof=1)),
        "conf_low": float(low),
        "conf_high": float(high),
        "prob_direction": float(max(np.mean(draws > 0), np.mean(draws < 0))),
        "mcse_mean": float(draws.std(ddof=1) / np.sqrt(az.ess(draws, method="mean"))),
        "rhat": float(az.rhat(draws)) if several else np.nan,
        "ess_bulk": float(az.ess(draws, method="bulk")),
        "ess_tail": float(az.ess(draws, method="tail")),
    }


def _fixed(
    posterior: PosteriorDraws, keys: Sequence[tuple[str, str]], names: Sequence[str], conf_level: float
) -> pd.DataFrame:
    rows = [
        {
            "module": key[0],
            "sparse_term": key[1],
            "term": name,
            **_summary(posterior.gamma[:, :, j, k], conf_level),
            "statistic": np.nan,
            "df": np.inf,
            "p_value": np.nan,
        }
        for k, key in enumerate(keys)
        for j, name in enumerate(names)
    ]
    return pd.DataFrame(rows)


def _spread(posterior: PosteriorDraws, keys: Sequence[tuple[str, str]], conf_level: float) -> pd.DataFrame:
    """Summarise standard deviations, and correlations under the earlier equation term of each pair."""
    rows = []
    for k, key in enumerate(keys):
        rows.append(_spread_row(key, "sd__(Intercept)", posterior.sd[:, :, k], conf_level))
        for other in range(k + 1, len(keys) if posterior.correlated else 0):
            term = f"cor__(Intercept).{equation_label(keys[other])}"
            rows.append(_spread_row(key, term, posterior.correlation[:, :, k, other], conf_level))
    return pd.DataFrame(rows)


def _spread_row(key: tuple[str, str], term: str, draws: np.ndarray, conf_level: float) -> dict[str, object]:
    summary = _summary(draws, conf_level)
    return {"module": key[0], "sparse_term": key[1], "group": "participant", "term": term, **summary}


def _glance(
    posterior: PosteriorDraws,
    fixed: pd.DataFrame,
    spread: pd.DataFrame,
    n_excluded: int,
    share_unidentified: float,
) -> pd.DataFrame:
    """One row: the equation terms are estimated together."""
    both = pd.concat([fixed, spread])
    rhat, bulk, tail = (both[name].to_numpy() for name in ("rhat", "ess_bulk", "ess_tail"))
    n_divergent = int(posterior.chains.diverging.sum())
    row = {
        "module": None,
        "sparse_term": None,
        "nobs": len(posterior.participants),
        "n_excluded": n_excluded,
        "share_unidentified": share_unidentified,
        "df_residual": np.nan,
        "rhat": float(rhat.max()),
        "ess_bulk": float(bulk.min()),
        "ess_tail": float(tail.min()),
        "n_divergent": n_divergent,
        "converged": converged(rhat, bulk, tail, n_divergent),
    }
    return pd.DataFrame([row])


def _deviations(posterior: PosteriorDraws, keys: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """Participants' deviations from what their covariates predict."""
    away = posterior.theta - np.einsum("np,cspd->csnd", posterior.design, posterior.gamma)
    mean, error = away.mean(axis=(0, 1)), away.std(axis=(0, 1))
    frames = [
        pd.DataFrame(
            {
                "module": key[0],
                "sparse_term": key[1],
                "group": "participant",
                "level": list(posterior.participants),
                "term": "(Intercept)",
                "estimate": mean[:, k],
                "std_error": error[:, k],
            }
        )
        for k, key in enumerate(keys)
    ]
    return pd.concat(frames, ignore_index=True)


def _inference_data(
    posterior: PosteriorDraws,
    keys: Sequence[tuple[str, str]],
    names: Sequence[str],
    data: Mapping[str, Values],
    observed: Mapping[str, Values],
) -> Any:
    az = load_arviz()
    labels = [equation_label(key) for key in keys]
    variables = {"fixed": posterior.gamma, "sd": posterior.sd, "coefficient": posterior.theta}
    dims = {
        "fixed": ["covariate", "equation_term"],
        "sd": ["equation_term"],
        "coefficient": ["participant", "equation_term"],
        "data": ["participant"],
        "design": ["participant", "covariate"],
        **{name: list(axes) for name, (axes, _) in {**data, **observed}.items()},
    }
    if posterior.correlated:
        variables["correlation"] = posterior.correlation
        dims["correlation"] = ["equation_term", "equation_term_2"]
    stats = {name: getattr(posterior.chains, name) for name in _STATS}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return az.from_dict(
            posterior=variables,
            sample_stats={**stats, "lp": posterior.chains.log_density},
            log_likelihood={"data": posterior.log_likelihood},
            observed_data={name: values for name, (_, values) in observed.items()},
            constant_data={"design": posterior.design, **{name: values for name, (_, values) in data.items()}},
            coords={
                "covariate": list(names),
                "equation_term": labels,
                "equation_term_2": labels,
                "participant": label_array(posterior.participants),
            },
            dims=dims,
        )
