"""Log densities of the Bayesian group models, against numpyro, SciPy and sums by hand."""

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_normal, norm
from scipy.stats import t as student

pytest.importorskip("numpyro")
from spicestat.group.bayes_density import density_size, known_covariance, on_nodes, unpack  # noqa: E402
from spicestat.group.bayes_engine import _double_precision, load_jax  # noqa: E402
from spicestat.group.bayes_nodes import node_posterior, standard_nodes  # noqa: E402
from spicestat.group.nodes import Nodes  # noqa: E402

P, D, N = 2, 3, 6
SCALE = np.full((P, D), 2.5)
PRIORS = {"location_scale": SCALE, "sd_scale": 0.8, "sd_df": 3.0, "lkj": 2.0}


def value(density, z, data):
    jax = load_jax()
    with _double_precision(jax):
        arrays = {name: jax.numpy.asarray(array) for name, array in data.items()}
        return float(jax.jit(density)(jax.numpy.asarray(z), arrays))


@pytest.fixture
def points():
    return np.random.default_rng(1).normal(0, 0.7, (2, density_size(P, D, True)))


@pytest.fixture
def estimates():
    rng = np.random.default_rng(2)
    root = rng.normal(size=(N, D, 5))
    return {
        "y": rng.normal(size=(N, D)),
        "covariance": root @ root.transpose(0, 2, 1) / 5,
        "observed": np.ones((N, D)),
        "X": np.column_stack([np.ones(N), rng.normal(size=N)]),
        **PRIORS,
    }


def log_prior(z):
    """From the textbook densities, with numerical Jacobians of the transformations."""
    import numpyro.distributions as dist

    jax = load_jax()
    gamma, sd, root = (part[0] for part in unpack(z[None], SCALE))
    free = z[P * D + D :]
    with _double_precision(jax):
        correlation = float(dist.LKJCholesky(D, 2.0).log_prob(jax.numpy.asarray(root)))

    def lower(values):
        full = np.concatenate([z[: P * D + D], values])
        return unpack(full[None], SCALE)[2][0][np.tril_indices(D, -1)]

    step = 1e-6
    jacobian = np.stack([(lower(free + step * unit) - lower(free - step * unit)) / (2 * step) for unit in np.eye(3)])
    normal = norm.logpdf(gamma, 0, SCALE).sum()
    spread = (student.logpdf(sd / 0.8, 3) + np.log(sd)).sum()
    return normal + spread + correlation + np.linalg.slogdet(jacobian)[1]


def test_known_covariance_is_prior_times_normal_likelihood(points, estimates):
    expected = []
    for z in points:
        gamma, sd, root = (part[0] for part in unpack(z[None], SCALE))
        sigma = (sd[:, None] * root) @ (sd[:, None] * root).T
        rows = zip(estimates["y"], estimates["covariance"], estimates["X"] @ gamma, strict=True)
        expected.append(log_prior(z) + sum(multivariate_normal.logpdf(y, mean, s + sigma) for y, s, mean in rows))
    ours = [value(known_covariance, z, estimates) for z in points]
    assert ours[1] - ours[0] == pytest.approx(expected[1] - expected[0], abs=1e-6)


def test_what_is_not_observed_does_not_count(points, estimates):
    partly = {name: np.array(array) for name, array in estimates.items()}
    partly["observed"][0] = [1, 0, 1]
    partly["y"][0, 1] = 0.0
    partly["covariance"][0, 1], partly["covariance"][0, :, 1] = 0.0, 0.0
    partly["covariance"][0, 1, 1] = 1.0
    moved = []
    for z in points:
        gamma, sd, root = (part[0] for part in unpack(z[None], SCALE))
        sigma = (sd[:, None] * root) @ (sd[:, None] * root).T
        y, mean, whole = estimates["y"][0], estimates["X"][0] @ gamma, estimates["covariance"][0] + sigma
        seen = [0, 2]
        marginal = multivariate_normal.logpdf(y[seen], mean[seen], whole[np.ix_(seen, seen)])
        moved.append(marginal - multivariate_normal.logpdf(y, mean, whole))
    ours = [value(known_covariance, z, partly) - value(known_covariance, z, estimates) for z in points]
    assert ours[1] - ours[0] == pytest.approx(moved[1] - moved[0], abs=1e-9)


@pytest.fixture
def nodes():
    rng = np.random.default_rng(3)
    return Nodes(rng.normal(1.0, 2.0, (N, 16, D)), rng.normal(-40, 3, (N, 16)))


def direct_sum(nodes, X, gamma, sigma):
    density = [
        multivariate_normal.logpdf(theta, mean, sigma) for theta, mean in zip(nodes.theta, X @ gamma, strict=True)
    ]
    return logsumexp(nodes.log_weight + np.array(density), axis=1)


def test_node_density_is_prior_times_the_sum_over_nodes(points, estimates, nodes):
    centre, spread = np.array([0.5, 1.0, -1.0]), np.array([2.0, 0.5, 1.0])
    scaled = standard_nodes(nodes, centre, spread)
    data = {
        "features": scaled.features,
        "centre": scaled.centre,
        "log_weight": scaled.log_weight,
        "X": estimates["X"],
        **PRIORS,
    }
    expected = []
    for z in points:
        gamma, sd, root = (part[0] for part in unpack(z[None], SCALE))
        # the standard scale: theta = centre + spread * standard
        factor = (spread * sd)[:, None] * root
        moved = gamma * spread + np.outer([1.0, 0.0], centre)
        expected.append(log_prior(z) + direct_sum(nodes, estimates["X"], moved, factor @ factor.T).sum())
    ours = [value(on_nodes, z, data) for z in points]
    # exponentials are in single precision
    assert ours[1] - ours[0] == pytest.approx(expected[1] - expected[0], abs=1e-4)


def test_node_posterior_agrees_with_the_sum(points, estimates, nodes):
    gamma, sd, root = unpack(points, SCALE)
    factor = sd[:, :, None] * root
    found = node_posterior(nodes, estimates["X"], gamma, factor, np.random.default_rng(0))
    for draw in range(len(points)):
        sigma = factor[draw] @ factor[draw].T
        expected = direct_sum(nodes, estimates["X"], gamma[draw], sigma)
        np.testing.assert_allclose(found.log_likelihood[draw], expected, rtol=1e-10)
    assert ((found.ess >= 1) & (found.ess <= 16)).all()
    chosen = (found.theta[:, :, None, :] == nodes.theta).all(axis=3)
    assert chosen.any(axis=2).all()


def test_gradient_is_finite_where_the_likelihood_vanishes(points, estimates, nodes):
    weight = nodes.log_weight.copy()
    weight[:, ::2] = -np.inf
    scaled = standard_nodes(Nodes(nodes.theta, weight), np.zeros(D), np.ones(D))
    jax = load_jax()
    data = {
        "features": scaled.features,
        "centre": scaled.centre,
        "log_weight": scaled.log_weight,
        "X": estimates["X"],
        **PRIORS,
    }
    with _double_precision(jax):
        arrays = {name: jax.numpy.asarray(array) for name, array in data.items()}
        gradient = jax.jit(jax.grad(on_nodes))(jax.numpy.asarray(points[0]), arrays)
    assert np.isfinite(np.asarray(gradient)).all()
