r"""The normal half of the one-stage model: coefficients with fixed and random effects, given normal likelihoods.

Row r, a participant on an occasion, has K coefficients

.. math:: u_r = F_r\gamma + \sum_p Z_{pr} b_{p g(r)} + e_r, \qquad b_{pg} \sim N(0, G_p), \quad e_r \sim N(0, \Sigma),

and its choices say :math:`\exp(h_r'u_r - u_r'\Lambda_r u_r / 2)` about them, a *site*. All is integrated in closed
form: first e of each row, then the effects of small levels (participants) block by block, then those of large ones
(sites) together with the fixed effects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from spicestat.group.numerics.variance_components import linked_rows

__all__ = ["LinearModel", "Part", "Point", "Sites"]

_LARGEST_BLOCK = 120
"""Effects that hang together, above which the part with the fewest levels is integrated with the fixed effects."""


class Sites(NamedTuple):
    """Normal likelihoods of n rows: precision (n, K, K), linear term (n, K), and how much each row counts, (n,)."""

    precision: np.ndarray
    linear: np.ndarray
    weight: np.ndarray


@dataclass(frozen=True, eq=False)
class Part:
    """Effects that each level of a grouping has for itself, on K coefficients.

    Attributes
    ----------
    matrix : ndarray of shape (n, r)
        What the effects are multiplied by. Effects are ordered by column, then by coefficient.
    codes : int ndarray of shape (n,)
        The level of each row, from 0.
    free : bool ndarray of shape (r K, r K)
        Entries of the lower triangular root of the effects' covariance that are not 0.
    """

    matrix: np.ndarray
    codes: np.ndarray
    free: np.ndarray

    @property
    def n_levels(self) -> int:
        """Number of levels."""
        return int(self.codes.max()) + 1

    @property
    def size(self) -> int:
        """Effects of a level, r K."""
        return len(self.free)

    def columns(self) -> np.ndarray:
        """Return what a row's coefficients are in the effects of its level, shape (n, K, r K)."""
        n, r = self.matrix.shape
        spread = self.matrix[:, None, :, None] * np.eye(self.size // r)[:, None, :]
        return np.asarray(spread.reshape(n, self.size // r, self.size))


@dataclass(frozen=True, eq=False)
class Point:
    """The model at given covariances.

    Attributes
    ----------
    log_evidence : float
        Log integral over all effects; over the fixed ones too if the likelihood is restricted.
    slopes : list of ndarray
        Derivative by each root; of the parts, then of the rows' own rest.
    gamma : ndarray of shape (m,)
    covariance : ndarray of shape (m, m)
        Of ``gamma``.
    mean : ndarray of shape (n, K)
        Posterior means of the coefficients.
    spread : ndarray of shape (n, K, K)
        Their posterior covariances.
    cavity : ndarray of shape (n, K)
        Means given everything but the row's own choices.
    cavity_spread : ndarray of shape (n, K, K)
    """

    log_evidence: float
    slopes: list[np.ndarray]
    gamma: np.ndarray
    covariance: np.ndarray
    mean: np.ndarray
    spread: np.ndarray
    cavity: np.ndarray
    cavity_spread: np.ndarray


class _Slot(NamedTuple):
    """One level of a part in each block: where its effects are, and which blocks have such a level."""

    part: int
    at: slice
    filled: np.ndarray


class LinearModel:
    """Fixed effects, random parts and the rows' own rest.

    Parameters
    ----------
    F : ndarray of shape (n, K, m)
        Fixed effects.
    parts : sequence of Part
    with_rest : bool
        Whether rows have a rest of their own.
    restricted : bool
        Whether fixed effects are integrated over.
    """

    def __init__(self, F: np.ndarray, parts: Sequence[Part], with_rest: bool, restricted: bool) -> None:
        self.n, self.K, self.m = F.shape
        self.parts, self.with_rest, self.restricted = list(parts), with_rest, restricted
        self.free = [part.free for part in parts]
        self.levels = [part.n_levels for part in parts]
        if with_rest:
            self.free.append(np.tri(self.K, dtype=bool))
            self.levels.append(self.n)
        local, self.block = _blocks(self.parts, self.n)
        self.order = np.argsort(self.block, kind="stable")
        self.starts = np.searchsorted(self.block[self.order], np.arange(self.block.max() + 1))
        self.Z, self.slots = self._local([k for k, inside in enumerate(local) if inside])
        self.wide: list[_Slot] = []
        columns, end = [F], self.m
        for k, part in enumerate(self.parts):
            if local[k]:
                continue
            columns.append(_by_level(part).reshape(self.n, self.K, -1))
            for level in range(part.n_levels):
                at = slice(end + level * part.size, end + (level + 1) * part.size)
                self.wide.append(_Slot(k, at, np.ones(1)))
            end += part.n_levels * part.size
        self.F = np.concatenate(columns, axis=2)

    def _local(self, chosen: list[int]) -> tuple[np.ndarray, list[_Slot]]:
        """Lay the parts that are integrated block by block out: Z (n, K, q), and where which level is."""
        pieces, slots, end, n_blocks = [np.zeros((self.n, self.K, 0))], [], 0, len(self.starts)
        for k in chosen:
            part, columns = self.parts[k], self.parts[k].columns()
            first = np.zeros(part.n_levels, dtype="int64")
            first[part.codes] = self.block
            order, rank = np.argsort(first, kind="stable"), np.empty(part.n_levels, dtype="int64")
            rank[order] = np.arange(part.n_levels) - np.searchsorted(first[order], first[order])
            for place in range(int(rank.max()) + 1):
                filled = np.zeros(n_blocks)
                filled[first[rank == place]] = 1.0
                slots.append(_Slot(k, slice(end, end + part.size), filled))
                pieces.append(columns * (rank[part.codes] == place)[:, None, None])
                end += part.size
        return np.concatenate(pieces, axis=2), slots

    def _gather(self, values: np.ndarray) -> np.ndarray:
        """Sum over the rows of each block."""
        return np.asarray(np.add.reduceat(values[self.order], self.starts, axis=0))

    def at(self, roots: Sequence[np.ndarray], sites: Sites, gamma: np.ndarray | None = None) -> Point:
        """Integrate, with lower triangular roots of the covariances, and the likeliest fixed effects or given ones.

        Raises
        ------
        numpy.linalg.LinAlgError
            The integral does not exist, as sites with negative precision may have it.
        """
        rest = roots[-1] if self.with_rest else np.zeros((self.K, self.K))
        half, weight = sites.precision @ rest, sites.weight
        inner, volumes = _inverse(np.eye(self.K) + rest.T @ half)
        plain = sites.precision - half @ inner @ half.transpose(0, 2, 1)
        along = (sites.linear[:, None, :] @ rest)[:, 0]
        pull = sites.linear - (half @ (inner @ along[:, :, None]))[:, :, 0]
        evidence = 0.5 * float(weight @ (np.einsum("nk,nkl,nl->n", along, inner, along) - volumes))
        M, m = weight[:, None, None] * plain, weight[:, None] * pull
        F, Z, q = self.F, self.Z, self.Z.shape[2]
        MF = M @ F
        information = F.reshape(-1, F.shape[2]).T @ MF.reshape(-1, F.shape[2])
        linear = F.reshape(-1, F.shape[2]).T @ m.ravel()
        if q:
            up = Z.transpose(0, 2, 1)
            H, hF, hm = self._gather(up @ M @ Z), self._gather(up @ MF), self._gather(up @ m[:, :, None])
            L = self._roots(roots)
            T, volume = _inverse(np.eye(q) + L.transpose(0, 2, 1) @ H @ L)
            D = L @ T @ L.transpose(0, 2, 1)
            DF, Dm = D @ hF, D @ hm
            evidence += 0.5 * float(np.sum(hm * Dm) - np.sum(volume))
            information = information - np.tensordot(hF, DF, ((0, 1), (0, 1)))
            linear = linear - np.einsum("cqg,cq->g", hF, Dm[:, :, 0])
        turn = np.eye(F.shape[2])
        for slot in self.wide:
            turn[slot.at, slot.at] = roots[slot.part]
        S = turn.T @ information @ turn
        S[np.arange(self.m, len(S)), np.arange(self.m, len(S))] += 1.0
        everything = np.linalg.inv(S)
        counted = slice(0 if self.restricted else self.m, None)
        known, volume = _inverse(S[None, counted, counted])
        standard = everything @ turn.T @ linear
        if gamma is not None:
            wide = slice(self.m, None)
            standard[: self.m] = gamma
            standard[wide] = np.linalg.solve(
                S[wide, wide], turn[wide, wide].T @ linear[wide] - S[wide, : self.m] @ gamma
            )
        g = turn @ standard
        evidence += float(standard @ (turn.T @ linear) - 0.5 * standard @ S @ standard - 0.5 * np.sum(volume))
        C = np.zeros_like(S)
        C[counted, counted] = known[0]
        C = turn @ C @ turn.T
        eta, across, spread = F @ g, F, np.zeros_like(M)
        if q:
            b = Dm - D @ hF @ g[:, None]
            eta = eta + (Z @ b[self.block])[:, :, 0]
            across = F - Z @ DF[self.block]
            spread = Z @ D[self.block] @ up
        spread = spread + across @ C @ across.transpose(0, 2, 1)
        slopes: list[np.ndarray] = [np.zeros_like(free, dtype="float64") for free in self.free]
        if q:
            rho = (hm - H @ b - (hF @ g)[:, :, None])[:, :, 0]
            psi = hF - H @ DF
            found = rho[:, :, None] * rho[:, None, :] - H + H @ D @ H + psi @ C @ psi.transpose(0, 2, 1)
            for slot in self.slots:
                slopes[slot.part] += np.einsum("c,cij->ij", slot.filled, found[:, slot.at, slot.at])
        if self.wide:
            rho = linear - information @ g
            found = np.outer(rho, rho) - information + information @ C @ information
            for slot in self.wide:
                slopes[slot.part] += found[slot.at, slot.at]
        if self.with_rest:
            away = pull - (plain @ eta[:, :, None])[:, :, 0]
            slopes[-1] = (weight[:, None] * away).T @ away - M.sum(axis=0)
            slopes[-1] = slopes[-1] + np.tensordot(M @ spread, plain, ((0, 2), (0, 1)))
        slopes = [slope @ root * free for slope, root, free in zip(slopes, roots, self.free, strict=True)]
        # each row's own choices taken out of its linear predictor, and its rest put in
        left = np.linalg.inv(np.eye(self.K) - spread @ M)
        cavity = (left @ (eta - (spread @ m[:, :, None])[:, :, 0])[:, :, None])[:, :, 0]
        cavity_spread = _symmetric(left @ spread) + rest @ rest.T
        taken = np.linalg.inv(np.eye(self.K) + cavity_spread @ sites.precision)
        mean = (taken @ (cavity + (cavity_spread @ sites.linear[:, :, None])[:, :, 0])[:, :, None])[:, :, 0]
        return Point(
            evidence,
            slopes,
            g[: self.m],
            everything[: self.m, : self.m],
            mean,
            _symmetric(taken @ cavity_spread),
            cavity,
            cavity_spread,
        )

    def _roots(self, roots: Sequence[np.ndarray]) -> np.ndarray:
        """Roots of the covariances of each block's effects, (C, q, q)."""
        found = np.zeros((len(self.starts), self.Z.shape[2], self.Z.shape[2]))
        for slot in self.slots:
            found[:, slot.at, slot.at] = slot.filled[:, None, None] * roots[slot.part]
        return found


def _symmetric(values: np.ndarray) -> np.ndarray:
    return np.asarray(0.5 * (values + values.swapaxes(-1, -2)))


def _inverse(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inverses of positive definite matrices, and their log determinants."""
    root = np.linalg.cholesky(values)
    half = np.linalg.inv(root)
    volume = 2.0 * np.sum(np.log(np.diagonal(root, axis1=-2, axis2=-1)), axis=-1)
    return half.swapaxes(-1, -2) @ half, volume


def _by_level(part: Part) -> np.ndarray:
    """Columns of all levels next to each other, (n, K, levels, r K)."""
    columns = part.columns()
    found = np.zeros((len(columns), columns.shape[1], part.n_levels, part.size))
    rows = np.arange(len(columns))
    found[rows, :, part.codes] = columns
    return found


def _blocks(parts: Sequence[Part], n: int) -> tuple[list[bool], np.ndarray]:
    """Return which parts are integrated block by block, and the block of each row."""
    local = [True] * len(parts)
    while True:
        chosen = [part for part, inside in zip(parts, local, strict=True) if inside]
        block = linked_rows([part.codes for part in chosen], n)
        counts = np.zeros(int(block.max()) + 1)
        for part in chosen:
            first = np.zeros(part.n_levels, dtype="int64")
            first[part.codes] = block
            counts += part.size * np.bincount(first, minlength=len(counts))
        if counts.max(initial=0.0) <= _LARGEST_BLOCK or not chosen:
            return local, block
        fewest = min((part.n_levels * part.size, k) for k, part in enumerate(parts) if local[k])[1]
        local[fewest] = False
