"""Mixtures fitted to weighted points."""

import numpy as np
import pytest

from spicestat.group.posterior.weighted_mixture import fit_weighted


def two_clusters(n_points=4000, seed=0):
    """Uniform points, weighted by a mixture density of two normal distributions in two dimensions."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(-6, 6, (n_points, 2))
    shape = np.array([[0.5, 0.3], [0.3, 0.8]])
    away = points - [2.0, -1.0]
    first = 0.7 * np.exp(-0.5 * np.sum(away @ np.linalg.inv(shape) * away, axis=1)) / np.sqrt(np.linalg.det(shape))
    second = 0.3 * np.exp(-0.5 * np.sum((points + 2.0) ** 2, axis=1))
    weight = first + second
    return points[None], (weight / weight.sum())[None], shape


def test_shares_means_and_covariances_are_recovered():
    # 700 effective points: standard errors of about .02 (share), .04 (means), .06 (covariances); seed fixed
    points, weight, shape = two_clusters()
    found = fit_weighted(points, weight, 2)
    larger = int(np.argmax(found.log_share[0]))
    assert np.exp(found.log_share[0, larger]) == pytest.approx(0.7, abs=0.06)
    np.testing.assert_allclose(found.mean[0, larger], [2.0, -1.0], atol=0.12)
    np.testing.assert_allclose(found.covariance[0, larger], shape, atol=0.18)
    assert np.exp(found.log_share).sum() == pytest.approx(1.0)


def test_mean_and_covariance_of_the_points_are_kept_by_one_component():
    points, weight, _ = two_clusters(seed=1)
    found = fit_weighted(points, weight, 1)
    mean = weight[0] @ points[0]
    away = points[0] - mean
    np.testing.assert_allclose(found.mean[0, 0], mean, atol=1e-10)
    np.testing.assert_allclose(found.covariance[0, 0], (away * weight[0][:, None]).T @ away, rtol=1e-6)


def test_sets_do_not_influence_each_other_and_units_do_not_matter():
    points, weight, _ = two_clusters()
    other = two_clusters(seed=5)
    both = fit_weighted(np.concatenate([points, 100 * other[0]]), np.concatenate([weight, other[1]]), 3)
    alone = fit_weighted(points, weight, 3)
    np.testing.assert_allclose(both.mean[:1], alone.mean, rtol=1e-8)
    scaled = fit_weighted(points * [1.0, 1e-4], weight, 3)
    np.testing.assert_allclose(scaled.mean[..., 1], 1e-4 * alone.mean[..., 1], rtol=1e-5)


def test_one_point_with_all_the_weight_is_no_fault():
    weight = np.zeros((1, 50))
    weight[0, 7] = 1.0
    points = np.random.default_rng(2).normal(size=(1, 50, 2))
    found = fit_weighted(points, weight, 4)
    assert np.isfinite(found.covariance).all()
    np.testing.assert_allclose(found.mean[0, 0], points[0, 7], atol=1e-6)
