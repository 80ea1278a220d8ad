"""Bayesian one-stage group model: the choices' likelihood, group effects and participants together, by NUTS."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from spicestat._checks import whole_number
from spicestat.errors import ConfigError, ConvergenceWarning, warn_user
from spicestat.group.formula.design import name_some
from spicestat.group.inputs.contract import GroupEstimates, GroupInputs
from spicestat.group.inputs.likelihood import ChoiceLikelihood, own_links
from spicestat.group.inputs.links import Link, choose_links, on_links
from spicestat.group.inputs.shared import draws_from_shared, step_of_all
from spicestat.group.marginal.hierarchical_fit import fit_hierarchical, stacked_design
from spicestat.group.marginal.quadrature import Place
from spicestat.group.methods.bayes_meta import prior_data
from spicestat.group.methods.hierarchical import starting_prior
from spicestat.group.methods.registry import Method
from spicestat.group.posterior.approximation import approximate_likelihoods, compare_likelihoods
from spicestat.group.posterior.density import density_size, on_mixture, unpack
from spicestat.group.posterior.engine import load_arviz, load_jax, sample_chains
from spicestat.group.posterior.likelihood_mixture import LikelihoodMixture, draw_participants
from spicestat.group.posterior.sampling import SamplerSettings
from spicestat.group.posterior.scaling import Scaling, make_scaling
from spicestat.group.posterior.tables import PosteriorDraws, collect_draws

__all__ = ["Settings", "estimate", "sample_on_mixture", "METHOD"]

_MIN_ESS_SHARE = 0.5
_COMPARED = 200


@dataclass(frozen=True)
class Settings(SamplerSettings):
    """Settings of `estimate`: those of the sampler and the priors, scales of the coefficients, and nodes.

    Attributes
    ----------
    links : mapping of str to str, optional
        Scale of the normal distribution of coefficients by module ("beta") or module and term
        ("beta:x_value_reward"): "identity", "logit" or "log"; see `choose_links`. Default: as of "hierarchical".
    n_nodes : int, default 2048
        Points per participant at which the likelihood of the choices is evaluated, a power of 2, 64 or more.
    n_components : int, default 6
        Normal distributions of the mixture that stands for a participant's likelihood.
    """

    links: Mapping[str, str] | None = None
    n_nodes: int = 2048
    n_components: int = 6

    def __post_init__(self) -> None:
        super().__post_init__()
        count = whole_number("n_nodes", self.n_nodes, 64)
        if count & (count - 1):
            raise ConfigError("n_nodes is out of range", got=count, allowed="a power of 2, such as 1024 or 2048")
        whole_number("n_components", self.n_components, 1)


def estimate(inputs: GroupInputs, settings: Settings | None = None) -> GroupEstimates:
    r"""Sample the posterior of the hierarchical model of the choices themselves.

    .. math:: c_i \mid \theta_i \sim L_i(\theta_i), \qquad \theta_i \sim N(X_i\gamma, \Sigma)

    with :math:`L_i` the likelihood of participant i's choices under the equations and :math:`\theta_i` the
    coefficients on the scale of their links. The sampler never runs the equations: each likelihood is evaluated at
    points about the participant's posterior, and a mixture of normal densities is fitted to it, over which any
    group distribution integrates in closed form. So all equations can be used, and the posterior that is sampled
    has few dimensions. Participants' coefficients are drawn afterwards, and mixtures and likelihoods compared at
    these draws: ``posterior.approximation``, see `compare_likelihoods`.
    Priors: `SamplerSettings`; centre and spread of a coefficient are those of a first
    normal approximation to the group.

    Raises
    ------
    ConfigError
        The packages of ``pip install 'spicestat[bayes]'`` are missing, or the choices are not known.
    """
    chosen = settings or Settings()
    load_arviz()
    load_jax()
    likelihood = inputs.needed_likelihood()
    links = choose_links(likelihood.terms, chosen.links, own_links(likelihood))
    X = inputs.design.matrix
    place = _first_place(inputs, likelihood, links)
    scaling = make_scaling(X, place.mean.mean(axis=0), _total_spread(place))
    mixture = approximate_likelihoods(
        likelihood, links, place, scaling.spread, n_nodes=chosen.n_nodes, n_components=chosen.n_components
    )
    posterior = sample_on_mixture(mixture, X, scaling, chosen, likelihood.participants, inputs.report)
    draws = posterior.theta.reshape(-1, *posterior.theta.shape[2:])
    compared = compare_likelihoods(mixture, likelihood, links, draws[:: max(1, len(draws) // _COMPARED)])
    _warn(compared)
    posterior = _with_shared(posterior, likelihood, links, chosen.seed)
    shares = [equation.share_unidentified for equation in inputs.equations]
    return collect_draws(
        posterior,
        likelihood.terms,
        inputs.design.names,
        conf_level=inputs.conf_level,
        n_excluded=len(inputs.table.participants) - len(X),
        share_unidentified=max(shares),
        reported=[equation.key for equation in inputs.equations],
        data={"n_choices": (("participant",), np.asarray(likelihood.n_trials))},
        links={term: link.name for term, link in zip(likelihood.terms, links, strict=True)},
        approximation=compared,
    )


def sample_on_mixture(
    mixture: LikelihoodMixture,
    X: np.ndarray,
    scaling: Scaling,
    settings: SamplerSettings,
    participants: Sequence[object],
    report: Callable[[int, int, str], object] | None = None,
) -> PosteriorDraws:
    """Draw from the posterior of the group and of the participants, with mixtures for their likelihoods.

    Parameters
    ----------
    mixture : LikelihoodMixture
        Of N participants and d coefficients.
    X : ndarray of shape (N, p)
    scaling : Scaling
        Where the priors are stated.
    settings : SamplerSettings
    participants : sequence of length N
        Labels.
    report : callable, optional
        See `sample_chains`.
    """
    p, d = X.shape[1], mixture.anchor.shape[2]
    standard = mixture.rescaled(scaling.centre, scaling.spread)
    priors = prior_data(scaling, settings, p)
    data = {
        "anchor": np.moveaxis(standard.anchor, 2, 0),
        "value": standard.value,
        "slope": np.moveaxis(standard.slope, 2, 0),
        "precision": np.moveaxis(standard.precision, (2, 3), (0, 1)),
        "X": X @ scaling.design,
        **priors,
    }
    chains = sample_chains(
        on_mixture,
        data,
        density_size(p, d, d > 1),
        draws=settings.draws,
        tune=settings.tune,
        chains=settings.chains,
        seed=settings.seed,
        target_accept=settings.target_accept,
        report=report,
    )
    flat = chains.draws.reshape(-1, chains.draws.shape[-1])
    inner, sd, root = unpack(flat, priors["location_scale"])
    gamma, sd = scaling.fixed_effects(inner), sd * scaling.spread
    found = draw_participants(mixture, X, gamma, sd[:, :, None] * root, np.random.default_rng([settings.seed, 1]))
    shape = chains.draws.shape[:2]
    return PosteriorDraws(
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


def _first_place(inputs: GroupInputs, likelihood: ChoiceLikelihood, links: Sequence[Link]) -> Place:
    """Return the participants' posteriors under the group distribution that fits best."""
    Z = stacked_design([inputs.design.matrix] * len(links))
    fit = fit_hierarchical(*on_links(likelihood, links), Z, *starting_prior(inputs, links))
    return Place(fit.mean, fit.spread, Z @ fit.gamma, fit.sigma)


def _with_shared(
    posterior: PosteriorDraws, likelihood: ChoiceLikelihood, links: Sequence[Link], seed: int
) -> PosteriorDraws:
    """Count what is not known of weights that the population shares, and that the likelihood holds."""
    shape, mean = posterior.theta.shape, posterior.theta.mean(axis=(0, 1, 2))
    moves = draws_from_shared(likelihood, links, mean, shape[0] * shape[1], np.random.default_rng([seed, 2]))
    moves = moves.reshape(*shape[:2], 1, shape[3])
    gamma = posterior.gamma + step_of_all(posterior.design)[:, None] * moves
    return replace(posterior, gamma=gamma, theta=posterior.theta + moves)


def _total_spread(place: Place) -> np.ndarray:
    """Return standard deviations of coefficients over people, between posterior means and within posteriors."""
    within = np.einsum("pkk->k", place.covariance) / len(place.mean)
    return np.asarray(np.sqrt(place.mean.var(axis=0) + within))


def _warn(compared: pd.DataFrame) -> None:
    poor = compared[~(compared["ess_share"] >= _MIN_ESS_SHARE)]
    if poor.empty:
        return
    warn_user(
        f"the likelihood of {len(poor)} participants is approximated coarsely (effective share of draws "
        f"{poor['ess_share'].min():.2f}): {name_some(poor['participant'].tolist())}. Raise n_nodes and n_components, "
        "or use a simpler equation.",
        ConvergenceWarning,
    )


METHOD = Method(
    estimate,
    "bayes",
    "the posterior of the model of `hierarchical`, by NUTS",
    Settings,
    needs_std_error=False,
    reads_choices=True,
    # measured with 35 % (docs/decisions.md, 32): everybody's choices count, so nobody is missing
    max_unidentified=0.4,
)
