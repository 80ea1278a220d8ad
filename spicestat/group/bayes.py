"""Bayesian one-stage group model: the choices' likelihood, group effects and participants together, by NUTS."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from spicestat.errors import ConfigError, ConvergenceWarning
from spicestat.group.bayes_density import density_size, on_nodes, unpack
from spicestat.group.bayes_engine import load_arviz, load_jax, sample_chains
from spicestat.group.bayes_meta import prior_data
from spicestat.group.bayes_nodes import Place, node_posterior, place_nodes, standard_nodes
from spicestat.group.bayes_results import PosteriorDraws, collect_draws
from spicestat.group.bayes_scaling import Scaling, make_scaling
from spicestat.group.bayes_settings import SamplerSettings
from spicestat.group.design import name_some
from spicestat.group.hierarchical import starting_prior
from spicestat.group.hierarchical_fit import fit_hierarchical
from spicestat.group.likelihood import ChoiceLikelihood
from spicestat.group.links import Link, choose_links
from spicestat.group.marginal import stacked_design
from spicestat.group.nodes import Nodes
from spicestat.group.problem import GroupEstimates, GroupProblem
from spicestat.settings import whole_number

__all__ = ["NodeQuality", "Settings", "estimate", "sample_on_nodes"]

_ENOUGH = 20.0


@dataclass(frozen=True)
class Settings(SamplerSettings):
    """Settings of `estimate`: those of the sampler and the priors, scales of the coefficients, and nodes.

    Attributes
    ----------
    links : mapping of str to str, optional
        Scale of the normal distribution of coefficients by module ("beta") or module and term
        ("beta:x_value_reward"): "identity" (default), "logit" or "log"; see `spicestat.group.links.choose_links`.
    n_nodes : int, default 1024
        Points per participant at which the likelihood of the choices is evaluated, a power of 2, 32 or more.
    max_passes : int, default 1
        How often the points may be placed: where the sampler went too far from them, they are placed again, at the
        participants' posteriors it found.
    """

    links: Mapping[str, str] | None = None
    n_nodes: int = 1024
    max_passes: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        count = whole_number("n_nodes", self.n_nodes, 32)
        if count & (count - 1):
            raise ConfigError("n_nodes is out of range", got=count, allowed="a power of 2, such as 256 or 512")
        whole_number("max_passes", self.max_passes, 1)


def estimate(problem: GroupProblem, settings: Settings | None = None) -> GroupEstimates:
    r"""Sample the posterior of the hierarchical model of the choices themselves.

    .. math:: c_i \mid \theta_i \sim L_i(\theta_i), \qquad \theta_i \sim N(X_i\gamma, \Sigma)

    with :math:`L_i` the likelihood of participant i's choices under the equations and :math:`\theta_i` the
    coefficients on the scale of their links. The sampler never runs the equations: the likelihood is evaluated once at
    Q points :math:`u_{iq}` of every participant, and the marginal likelihood of the group is

    .. math:: \prod_i \sum_q e^{w_{iq}} N(u_{iq}; X_i\gamma, \Sigma), \qquad
        w_{iq} = \log L_i(u_{iq}) - \log(Q\,g_i(u_{iq}))

    for points from the density :math:`g_i`, so that any equations can be used, and the posterior has few
    dimensions. Participants' coefficients are drawn from their points afterwards.
    ``extra["node_quality"]`` tells for each participant the effective number of points.
    Priors: `spicestat.group.bayes_settings.SamplerSettings`; centre and spread of a coefficient are those of a first
    normal approximation to the group.

    Raises
    ------
    ConfigError
        The packages of ``pip install 'spicestat[bayes]'`` are missing, or the choices are not known.
    """
    chosen = settings or Settings()
    load_arviz()
    load_jax()
    likelihood = problem.needed_likelihood()
    links = choose_links(likelihood.terms, chosen.links)
    X = problem.design.matrix
    place = _first_place(problem, likelihood, links)
    scaling = make_scaling(X, place.mean.mean(axis=0), _total_spread(place))
    for _ in range(chosen.max_passes):
        nodes = place_nodes(likelihood, links, _floored(place, scaling.spread), chosen.n_nodes)
        posterior, quality = sample_on_nodes(nodes, X, scaling, chosen, likelihood.participants)
        if quality.low.min() >= _ENOUGH:
            break
        place = _place_at(posterior)
    if quality.low.min() < _ENOUGH:
        _warn(quality, likelihood.participants)
    shares = [equation.share_unidentified for equation in problem.equations]
    return collect_draws(
        posterior,
        likelihood.terms,
        problem.design.names,
        conf_level=problem.conf_level,
        n_excluded=len(problem.table.participants) - len(X),
        share_unidentified=max(shares),
        reported=[equation.key for equation in problem.equations],
        data={"n_choices": (("participant",), np.asarray(likelihood.n_trials))},
        links={term: link.name for term, link in zip(likelihood.terms, links, strict=True)},
        extra={"node_quality": quality.frame(likelihood.participants)},
    )


@dataclass(frozen=True)
class NodeQuality:
    """How many of N participants' Q nodes count, given the group.

    Attributes
    ----------
    mean : ndarray of shape (N,)
        Effective number of nodes at the posterior mean of the group.
    low : ndarray of shape (N,)
        What it falls below for 5 % of the posterior draws of the group.
    n_nodes : int
        Q.
    """

    mean: np.ndarray
    low: np.ndarray
    n_nodes: int

    def frame(self, participants: Sequence[object]) -> pd.DataFrame:
        """Return ``participant, ess_mean, ess_low, n_nodes``."""
        return pd.DataFrame(
            {
                "participant": list(participants),
                "ess_mean": self.mean,
                "ess_low": self.low,
                "n_nodes": self.n_nodes,
            }
        )


def sample_on_nodes(
    nodes: Nodes,
    X: np.ndarray,
    scaling: Scaling,
    settings: SamplerSettings,
    participants: Sequence[object],
) -> tuple[PosteriorDraws, NodeQuality]:
    """Draw from the posterior of the group and of the participants, on given nodes.

    Parameters
    ----------
    nodes : Nodes
        Of N participants and d coefficients.
    X : ndarray of shape (N, p)
    scaling : Scaling
        Where the priors are stated.
    settings : SamplerSettings
    participants : sequence of length N
        Labels.
    """
    p, d = X.shape[1], nodes.theta.shape[2]
    standard = standard_nodes(nodes, scaling.centre, scaling.spread)
    priors = prior_data(scaling, settings, p)
    data = {
        "features": standard.features,
        "centre": standard.centre,
        "log_weight": standard.log_weight,
        "X": X @ scaling.design,
        **priors,
    }
    chains = sample_chains(
        on_nodes,
        data,
        density_size(p, d, d > 1),
        draws=settings.draws,
        tune=settings.tune,
        chains=settings.chains,
        seed=settings.seed,
        target_accept=settings.target_accept,
    )
    flat = chains.draws.reshape(-1, chains.draws.shape[-1])
    inner, sd, root = unpack(flat, priors["location_scale"])
    gamma, sd = scaling.fixed_effects(inner), sd * scaling.spread
    found = node_posterior(nodes, X, gamma, sd[:, :, None] * root, np.random.default_rng([settings.seed, 1]))
    shape = chains.draws.shape[:2]
    posterior = PosteriorDraws(
        chains=chains,
        gamma=gamma.reshape(*shape, p, d),
        sd=sd.reshape(*shape, d),
        correlation=(root @ root.transpose(0, 2, 1)).reshape(*shape, d, d),
        theta=found.theta.reshape(*shape, *found.theta.shape[1:]),
        log_likelihood=found.log_likelihood.reshape(*shape, -1),
        design=X,
        participants=tuple(participants),
        correlated=d > 1,
    )
    return posterior, _quality(nodes, posterior, found.ess)


def _quality(nodes: Nodes, posterior: PosteriorDraws, ess: np.ndarray) -> NodeQuality:
    gamma = posterior.gamma.mean(axis=(0, 1))[None]
    factor = np.linalg.cholesky(_mean_sigma(posterior))[None]
    middle = node_posterior(nodes, posterior.design, gamma, factor, np.random.default_rng(0)).ess[0]
    return NodeQuality(middle, np.quantile(ess, 0.05, axis=0), nodes.theta.shape[1])


def _first_place(problem: GroupProblem, likelihood: ChoiceLikelihood, links: Sequence[Link]) -> Place:
    """Return the participants' posteriors under the group distribution that fits best."""
    Z = stacked_design([problem.design.matrix] * len(links))
    fit = fit_hierarchical(likelihood, links, Z, *starting_prior(problem, links))
    return Place(fit.posterior.mean, fit.posterior.covariance, Z @ fit.group.gamma, fit.group.sigma)


def _total_spread(place: Place) -> np.ndarray:
    """Return standard deviations of coefficients over people, between posterior means and within posteriors."""
    within = np.einsum("pkk->k", place.covariance) / len(place.mean)
    return np.asarray(np.sqrt(place.mean.var(axis=0) + within))


def _floored(place: Place, spread: np.ndarray) -> Place:
    """Widen distributions that are narrower than 2 % (participants) or 5 % (group) of the spread in some direction."""

    def widened(covariance: np.ndarray, share: float) -> np.ndarray:
        scale = spread[:, None] * spread
        values, vectors = np.linalg.eigh(covariance / scale)
        floored = np.einsum("...ij,...j,...kj->...ik", vectors, values.clip(share**2), vectors)
        return np.asarray(floored * scale)

    return place._replace(
        covariance=widened(place.covariance, 0.02), group_covariance=widened(place.group_covariance, 0.05)
    )


def _place_at(posterior: PosteriorDraws) -> Place:
    """Return participants' posteriors, whatever the group, and the group's posterior mean."""
    flat = posterior.theta.reshape(-1, *posterior.theta.shape[2:])
    mean = flat.mean(axis=0)
    away = flat - mean
    covariance = np.einsum("snk,snl->nkl", away, away, optimize=True) / len(flat)
    return Place(mean, covariance, posterior.design @ posterior.gamma.mean(axis=(0, 1)), _mean_sigma(posterior))


def _mean_sigma(posterior: PosteriorDraws) -> np.ndarray:
    sd = posterior.sd
    sigma: np.ndarray = (posterior.correlation * sd[..., :, None] * sd[..., None, :]).mean(axis=(0, 1))
    return sigma


def _warn(quality: NodeQuality, participants: Sequence[object]) -> None:
    poor = np.flatnonzero(quality.low < _ENOUGH).tolist()
    named = name_some([participants[position] for position in poor])
    warnings.warn(
        f"the likelihood of {len(poor)} participants rests on few effective nodes ({quality.low.min():.0f} of "
        f"{quality.n_nodes}): {named}. Raise n_nodes, or use a simpler equation.",
        ConvergenceWarning,
        stacklevel=4,
    )
