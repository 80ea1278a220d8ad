"""Who takes part in a simulated study: covariates, occasions and sites, and how much these differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from spicestat._checks import real_number, whole_number
from spicestat.errors import ConfigError
from spicestat.group.formula.design import build_design, covariate_names
from spicestat.group.formula.terms import RandomTerms, read_random
from spicestat.studies.population import Population, normal_rows

__all__ = ["OCCASION", "Kind", "StudyDesign"]

Kind = Literal["continuous", "binary", "within"] | int
"""What a covariate is: standard normal, two groups of people, 0 and 1 on occasions, or so many groups of people."""

OCCASION = "occasion"
_KINDS = ("continuous", "binary", "within")


@dataclass(frozen=True)
class StudyDesign:
    """The table of a study's people, before they play.

    Attributes
    ----------
    formula : str
        Of the group model.
    kinds : mapping of str to Kind
        Of all its covariates and groupings.
    n_occasions : int
        Of each person.
    shares : mapping of str to float
        Of the population's variances, what is between occasions of a person, between levels of groupings, or, of a
        covariate with random slopes, what is between people's slopes.
    """

    formula: str
    kinds: Mapping[str, Kind]
    n_occasions: int
    shares: Mapping[str, float]

    @classmethod
    def of(
        cls,
        formula: str,
        covariates: Kind | Mapping[str, Kind],
        n_occasions: int,
        shares: Mapping[str, float],
    ) -> StudyDesign:
        """Check what was asked for; a kind alone is that of all covariates, else "continuous" of those without one.

        Raises
        ------
        ConfigError
            A kind or share is missing, unknown, or out of range.
        FormulaError
            The formula cannot be read.
        """
        n_occasions = whole_number("n_occasions", n_occasions, 1)
        parts = read_random(formula)
        levels = {name for part in parts for name in part.groups} - {"participant"}
        names = [name for name in dict.fromkeys((*covariate_names(formula), *levels)) if name != OCCASION]
        given = covariates if isinstance(covariates, Mapping) else dict.fromkeys(names, covariates)
        if set(given) - set(names):
            raise ConfigError("`covariates` are not in the formula", got=sorted(given), allowed=names)
        kinds = {name: _checked_kind(name, given.get(name, "continuous"), n_occasions, levels) for name in names}
        return cls(formula, kinds, n_occasions, _checked_shares(shares, parts, n_occasions))

    def people(self, n: int, rng: np.random.Generator) -> pd.DataFrame:
        """Draw n people: one row per person and occasion, with ``participant``, ``occasion`` from 1, and covariates.

        Examples
        --------
        >>> design = StudyDesign.of("~ drug + (1 | participant)", "within", 2, {"occasion": 0.3})
        >>> people = design.people(2, np.random.default_rng(0))
        >>> people.groupby("participant")["drug"].sum().tolist()
        [1.0, 1.0]
        """
        person, occasion = np.divmod(np.arange(n * self.n_occasions), self.n_occasions)
        labels = np.array([f"p{code + 1:0{len(str(n))}d}" for code in range(n)])
        columns = {"participant": labels[person], OCCASION: occasion + 1}
        for name, kind in self.kinds.items():
            columns[name] = _drawn(name, kind, n, rng, person, occasion)
        return pd.DataFrame(columns)

    def shift(self, people: pd.DataFrame, effects: Mapping[str, float], names: tuple[str, ...]) -> np.ndarray:
        """Return by how much effects of columns of the design move people from their mean, (R,)."""
        matrix = build_design(self.formula, people).matrix
        own = np.array([effects.get(name, 0.0) for name in names])
        return np.asarray((matrix - matrix.mean(axis=0)) @ own)

    def deviations(self, people: pd.DataFrame, population: Population, rng: np.random.Generator) -> np.ndarray:
        """Draw how rows deviate from the mean of a population, on the scale of its links, (R, K)."""
        whole, within = population.covariance, self._within(population)
        person = pd.factorize(people["participant"])[0]
        found, left = normal_rows(within, len(people), rng), whole - within
        for name, share in self.shares.items():
            if name == OCCASION:
                continue
            slope = name in self.kinds and not isinstance(self.kinds[name], int)
            code = person if slope else people.groupby(name.split(":"), sort=False).ngroup().to_numpy()
            effect = normal_rows(share * whole, int(code.max()) + 1, rng)[code]
            found = found + (effect * people[[name]].to_numpy(dtype="float64") if slope else effect)
            left = left if slope else left - share * whole
        return np.asarray(found + normal_rows(left, int(person.max()) + 1, rng)[person])

    def check_population(self, population: Population) -> None:
        """Refuse occasions of which nothing says how much people differ between them."""
        if self.n_occasions > 1 and OCCASION not in self.shares and not population.within.any():
            raise ConfigError(
                "nothing says how much a person differs between occasions: the fit has none",
                do="pass shares={'occasion': 0.3}, the share of the variance on one occasion, or fit with `occasion`",
            )

    def _within(self, population: Population) -> np.ndarray:
        """Covariance of occasions of a person, (K, K)."""
        if OCCASION in self.shares:
            return self.shares[OCCASION] * population.covariance
        return np.broadcast_to(population.within, population.covariance.shape)


def _checked_kind(name: str, kind: object, n_occasions: int, levels: set[str]) -> Kind:
    if isinstance(kind, int) and not isinstance(kind, bool):
        return whole_number(f"the number of groups of '{name}'", kind, 2)
    if name in levels:
        raise ConfigError(
            f"'{name}' is a grouping", got=kind, do=f"pass covariates={{'{name}': 8}}, if it has 8 levels"
        )
    if kind not in _KINDS:
        raise ConfigError(f"unknown kind of covariate '{name}'", got=kind, allowed=f"{', '.join(_KINDS)}, or a number")
    if kind == "within" and n_occasions < 2:
        raise ConfigError(f"'{name}' varies between occasions, and there is one", do="pass n_occasions=2, or more")
    return kind  # type: ignore[return-value]  # it is one of these


def _needed_shares(parts: tuple[RandomTerms, ...]) -> Iterator[str]:
    """Yield what random parts say differs: groupings other than people, and covariates with slopes."""
    for part in parts:
        of_people = part.groups == ("participant",)
        for term in part.terms:
            if term and of_people:
                yield ":".join(name for factor in term for name in factor.columns)
            elif not term and not of_people:
                yield ":".join(part.groups)


def _checked_shares(shares: Mapping[str, float], parts: tuple[RandomTerms, ...], n_occasions: int) -> dict[str, float]:
    needed = list(dict.fromkeys(_needed_shares(parts)))
    allowed = [*needed, *([OCCASION] if n_occasions > 1 else [])]
    missing, unknown = [name for name in needed if name not in shares], sorted(set(shares) - set(allowed))
    if missing or unknown:
        raise ConfigError(
            "`shares` say how much of the variance is between what the random parts name, and between occasions",
            got=", ".join(unknown) or f"nothing of {', '.join(missing)}",
            allowed=", ".join(allowed) or "none here",
            do="pass for example shares={'occasion': 0.3, 'site': 0.1}",
        )
    found = {name: real_number(f"the share of '{name}'", shares[name], 0.0, 1.0) for name in allowed if name in shares}
    of_levels = sum(share for name, share in found.items() if name == OCCASION or _is_grouping(name, parts))
    if of_levels >= 1.0:
        raise ConfigError("shares leave nothing between people", got=of_levels, allowed="a sum below 1")
    return found


def _is_grouping(name: str, parts: tuple[RandomTerms, ...]) -> bool:
    return any(name == ":".join(part.groups) for part in parts)


def _drawn(
    name: str, kind: Kind, n: int, rng: np.random.Generator, person: np.ndarray, occasion: np.ndarray
) -> np.ndarray:
    """Draw a covariate of rows."""
    if kind == "continuous":
        return np.asarray(rng.normal(size=n)[person])
    code = rng.permutation(np.arange(n) % (kind if isinstance(kind, int) else 2))
    if kind == "within":
        # as many people begin with 0 as with 1
        code = code[person] + occasion
        return np.asarray(code % 2, dtype="float64")
    if kind == "binary":
        return np.asarray(code[person], dtype="float64")
    return np.asarray([f"_{level + 1:02d}" for level in code[person]], dtype=object)
