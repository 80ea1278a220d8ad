"""Link functions: from a coefficient's natural scale to one where a normal distribution makes sense."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

from spicestat.errors import ConfigError
from spicestat.group.inputs.likelihood import ChoiceLikelihood, HasLinks, own_links

__all__ = ["LINKS", "Link", "choose_links", "find_link", "in_unit", "on_links"]

_EDGE = 1e-12


@dataclass(frozen=True)
class Link:
    """A smooth, increasing map between the natural and the unconstrained scale.

    Attributes
    ----------
    name : str
        As in `LINKS`.
    to_unconstrained, to_natural : callable
        The link and its inverse, elementwise.
    derivative, second_derivative : callable
        Of ``to_natural``, at unconstrained values.

    Examples
    --------
    >>> link = find_link("logit")
    >>> float(link.to_natural(np.array(0.0))), float(link.derivative(np.array(0.0)))
    (0.5, 0.25)
    """

    name: str
    to_unconstrained: Callable[[np.ndarray], np.ndarray]
    to_natural: Callable[[np.ndarray], np.ndarray]
    derivative: Callable[[np.ndarray], np.ndarray]
    second_derivative: Callable[[np.ndarray], np.ndarray]


def _logistic_slope(x: np.ndarray) -> np.ndarray:
    return np.asarray(expit(x) * expit(-x))


LINKS: Mapping[str, Link] = {
    "identity": Link("identity", np.asarray, np.asarray, np.ones_like, np.zeros_like),
    "logit": Link(
        "logit",
        lambda y: np.asarray(logit(np.clip(y, _EDGE, 1.0 - _EDGE))),
        lambda x: np.asarray(expit(x)),
        _logistic_slope,
        lambda x: _logistic_slope(x) * (expit(-x) - expit(x)),
    ),
    "log": Link("log", lambda y: np.log(np.maximum(y, _EDGE)), np.exp, np.exp, np.exp),
}
"""The links by name: "identity" for any number, "logit" for shares in (0, 1), "log" for positive numbers."""


def find_link(name: str) -> Link:
    """Return a link by name, or raise `ConfigError`."""
    if name not in LINKS:
        raise ConfigError("unknown link", got=name, allowed=", ".join(LINKS))
    return LINKS[name]


def in_unit(link: Link, size: float) -> Link:
    """Return the link of an unconstrained scale whose unit is ``size`` of the link's own.

    Examples
    --------
    >>> float(in_unit(find_link("identity"), 2.0).to_natural(np.array(3.0)))
    6.0
    """
    return Link(
        link.name,
        lambda y: link.to_unconstrained(y) / size,
        lambda x: link.to_natural(size * x),
        lambda x: size * link.derivative(size * x),
        lambda x: size**2 * link.second_derivative(size * x),
    )


def choose_links(
    terms: Sequence[tuple[str, str]], links: Mapping[str, str] | None, own: Mapping[str, str] | None = None
) -> tuple[Link, ...]:
    """Return the link of each (module, term).

    Parameters
    ----------
    terms : sequence of (module, term)
    links : mapping of str to str, optional
        Link names by module ("beta") or by module and term ("beta:x_value_reward"), of which the latter counts.
        Whatever is not named has its own link, or the identity.
    own : mapping of str to str, optional
        Links that belong to coefficients by module and term.

    Raises
    ------
    ConfigError
        A link is unknown, or a key names no coefficient.

    Examples
    --------
    >>> [link.name for link in choose_links([("x_learning_rate", "1"), ("beta", "x_value")], {"beta": "log"})]
    ['identity', 'log']
    """
    given = dict(links or {})
    known = {module for module, _ in terms} | {f"{module}:{term}" for module, term in terms}
    unknown = sorted(set(given) - known)
    if unknown:
        raise ConfigError(
            "`links` names what is not estimated",
            got=", ".join(map(repr, unknown)),
            allowed=", ".join(repr(f"{module}:{term}") for module, term in terms) + ", or a module alone",
        )
    default = own or {}
    names = [
        given.get(f"{module}:{term}", given.get(module, default.get(f"{module}:{term}", "identity")))
        for module, term in terms
    ]
    return tuple(map(find_link, names))


def on_links(likelihood: ChoiceLikelihood, links: Sequence[Link]) -> tuple[ChoiceLikelihood, tuple[Link, ...]]:
    """Return a likelihood and the links that lead to its coefficients: identities where it knows better derivatives.

    A likelihood with links of its own differentiates on their scale, on which its coefficients have no bounds.
    """
    own = own_links(likelihood)
    names = [own.get(f"{module}:{term}", "identity") for module, term in likelihood.terms]
    if isinstance(likelihood, HasLinks) and names == [link.name for link in links]:
        return likelihood.unconstrained(), (find_link("identity"),) * len(links)
    return likelihood, tuple(links)
