"""The No-U-Turn sampler: numpyro, loaded when it is first used, in chunks that Ctrl-C can interrupt."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from spicestat._runtime.interrupts import kept_interrupts
from spicestat.errors import ConfigError, NumericalError

__all__ = ["Chains", "load_arviz", "load_jax", "sample_chains"]

_PACKAGES = "pip install 'spicestat[bayes]'"
_CACHE = "XDG_CACHE_HOME"
_CHUNK = 20
_START_RADIUS = 1.0
_TRIES = 20


@dataclass(frozen=True)
class Chains:
    """Draws of C chains from a posterior over M unconstrained numbers.

    Attributes
    ----------
    draws : ndarray of shape (C, draws, M)
    log_density : ndarray of shape (C, draws)
        Of the posterior up to a constant, on the unconstrained scale.
    diverging : ndarray of bool, shape (C, draws)
    n_steps : ndarray of int, shape (C, draws)
        Leapfrog steps.
    acceptance_rate, energy, step_size : ndarray of shape (C, draws)
    """

    draws: np.ndarray
    log_density: np.ndarray
    diverging: np.ndarray
    n_steps: np.ndarray
    acceptance_rate: np.ndarray
    energy: np.ndarray
    step_size: np.ndarray


def sample_chains(
    log_density: Callable[[Any, Mapping[str, Any]], Any],
    data: Mapping[str, np.ndarray],
    size: int,
    *,
    draws: int,
    tune: int,
    chains: int,
    seed: int,
    target_accept: float,
    report: Callable[[int, int, str], object] | None = None,
) -> Chains:
    """Draw from a posterior by NUTS with a dense mass matrix, all chains side by side in double precision.

    Parameters
    ----------
    log_density : callable
        Takes an unconstrained vector of length M and ``data``, gives the log posterior density up to a constant;
        a module-level function written with the ``numpy`` interface of JAX. It is compiled once for each
        shape of ``data``.
    data : mapping of str to ndarray
    size : int
        M.
    draws, tune, chains, seed, target_accept
        See `SamplerSettings`.
    report : callable, optional
        Called with (iterations done, all iterations, message).

    Raises
    ------
    ConfigError
        numpyro is not installed.
    NumericalError
        No starting point with a finite density was found.

    References
    ----------
    Hoffman & Gelman (2014), https://www.jmlr.org/papers/v15/hoffman14a.html;
    Phan, Pradhan & Jankowiak (2019), https://arxiv.org/abs/1912.11554.
    """
    jax = load_jax()
    with kept_interrupts(), _double_precision(jax):
        start, advance = _compiled(log_density, tune, float(target_accept))
        arrays = {name: jax.numpy.asarray(value) for name, value in data.items()}
        keys = jax.random.split(jax.random.PRNGKey(seed), chains)
        state = start(keys, _starts(log_density, arrays, size, chains, seed), arrays)
        collected: list[Any] = []
        # one call for all iterations would leave Ctrl-C without an answer until the end
        while _CHUNK * len(collected) < tune + draws:
            state, chunk = advance(state, arrays)
            collected.append([np.asarray(part) for part in chunk])
            if report is not None:
                report(min(_CHUNK * len(collected), tune + draws), tune + draws, f"{chains} chains")
    return Chains(*(np.concatenate(parts, axis=1)[:, tune : tune + draws] for parts in zip(*collected, strict=True)))


def load_jax() -> Any:
    """Import JAX and numpyro's sampler without messages, without reserving a GPU's memory, and return ``jax``.

    Raises
    ------
    ConfigError
        numpyro is not installed.
    """
    if "jax" not in sys.modules:
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        # on a busy machine XLA writes to stderr that it compiles slowly
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    _load("numpyro.infer.hmc", "numpyro")
    return _load("jax", "numpyro")


def load_arviz() -> Any:
    """Import ArviZ without its message about coming changes, and without its writing to the home folder.

    Raises
    ------
    ConfigError
        ArviZ is not installed, or cannot be loaded.
    """
    if "arviz" in sys.modules:
        return sys.modules["arviz"]
    # its own cache is to stay where it is
    _load("matplotlib", "arviz").get_cachedir()
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder, _cache_in(folder):
        return _load("arviz", "arviz")


@contextmanager
def _cache_in(folder: str) -> Iterator[None]:
    """Let packages that are imported here write into a folder.

    ArviZ keeps the day of its last message in the user's cache, and cannot be imported where that cannot be
    written to, nor by two processes at once.
    """
    before = os.environ.get(_CACHE)
    os.environ[_CACHE] = folder
    try:
        yield
    finally:
        if before is None:
            del os.environ[_CACHE]
        else:
            os.environ[_CACHE] = before


def _load(module: str, package: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return import_module(module)
    except Exception as error:  # at import, a package may do anything, and fail with anything
        what = f"Bayesian group models need the package '{package}', which cannot be loaded: {error}"
        raise ConfigError(what, do=_PACKAGES) from error


@contextmanager
def _double_precision(jax: Any) -> Iterator[None]:
    """Compute in float64 on the processor, here only: settings that others made for JAX stay as they are."""
    double = jax.enable_x64 if hasattr(jax, "enable_x64") else import_module("jax.experimental").enable_x64
    # its message that a GPU is there which it cannot use is no news
    logger = logging.getLogger("jax._src.xla_bridge")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        processor = jax.devices("cpu")[0]
    finally:
        logger.setLevel(level)
    with double(True), jax.default_device(processor):
        yield


@cache
def _compiled(log_density: Callable[..., Any], tune: int, target_accept: float) -> tuple[Any, Any]:
    """Return the compiled functions that start chains and that advance them by `_CHUNK` iterations."""
    jax = load_jax()

    def potential(data: Mapping[str, Any]) -> Callable[[Any], Any]:
        return lambda z: -log_density(z, data)

    begin, step = import_module("numpyro.infer.hmc").hmc(potential_fn_gen=potential, algo="NUTS")

    def start(key: Any, z: Any, data: Mapping[str, Any]) -> Any:
        return begin(z, tune, dense_mass=True, target_accept_prob=target_accept, model_args=(data,), rng_key=key)

    def advance(state: Any, data: Mapping[str, Any]) -> Any:
        def one(state: Any, _: None) -> Any:
            new = step(state, (data,))
            kept = (
                new.z,
                -new.potential_energy,
                new.diverging,
                new.num_steps,
                new.accept_prob,
                new.energy,
                new.adapt_state.step_size,
            )
            return new, kept

        return jax.lax.scan(one, state, None, length=_CHUNK)

    over_chains = {"in_axes": (0, None)}
    return jax.jit(jax.vmap(start, in_axes=(0, 0, None))), jax.jit(jax.vmap(advance, **over_chains))


def _starts(log_density: Callable[..., Any], data: Mapping[str, Any], size: int, chains: int, seed: int) -> np.ndarray:
    """Draw a starting point of each chain, uniform about 0, where the density is finite."""
    rng = np.random.default_rng(seed)
    value = _value(log_density)
    points = np.empty((chains, size))
    for chain in range(chains):
        for _ in range(_TRIES):
            points[chain] = rng.uniform(-_START_RADIUS, _START_RADIUS, size)
            if np.isfinite(value(points[chain], data)):
                break
        else:
            raise NumericalError(
                "no starting point of the sampler has a finite posterior density",
                do="leave out participants with extreme estimates or standard errors",
            )
    return points


@cache
def _value(log_density: Callable[..., Any]) -> Any:
    return load_jax().jit(log_density)
