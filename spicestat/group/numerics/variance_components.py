"""Mixed models of estimates with known sampling variances: any random parts, by REML or ML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.optimize import minimize
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from spicestat.errors import DataError, NumericalError

__all__ = ["RandomPart", "VarianceComponents", "linked_rows", "rest_is_told", "variance_components"]

_LARGEST_BLOCK = 60
"""Rows that hang together by random parts, above which the part with the fewest columns is treated as of low rank."""
_CONFUSED = 1e-9
"""Smallest eigenvalue of the correlations between the effects of variance parameters on the data's covariance."""
_STARTS = ((0.5, 0.5), (0.95, 0.1), (0.1, 0.9), (0.01, 0.01), (3.0, 0.01))
"""Shares of the variance that random parts, and the rows' own rest, have at the beginning of each search."""
_STEP = 1e-5
_STILL_TO_GAIN = 1e-7
"""Log-likelihood that another step of Newton's method would add, below which a search has converged."""
_NEWTON_STEPS = 20
_TINY = 1e-7
"""Standard deviations below this part of the data's are 0."""


@dataclass(frozen=True)
class RandomPart:
    r"""Effects that each level of a grouping has for itself: :math:`z_i' b_{g(i)}`, :math:`b_g \sim N(0, G)`.

    Attributes
    ----------
    matrix : ndarray of shape (n, r)
        What is multiplied by the effects, such as a column of ones and a covariate.
    codes : int ndarray of shape (n,)
        The level of each row, all of 0 to the largest occurring.
    correlated : bool, default True
        Whether :math:`G` is any covariance matrix, or a diagonal one.
    """

    matrix: np.ndarray
    codes: np.ndarray
    correlated: bool = True

    @property
    def n_levels(self) -> int:
        """Number of levels."""
        return int(self.codes.max()) + 1

    @property
    def n_columns(self) -> int:
        """Number of effects of each level, r."""
        return int(self.matrix.shape[1])

    @cached_property
    def entries(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns of the entries of the lower triangle of G that are estimated."""
        row, column = np.tril_indices(self.n_columns)
        kept = np.full(len(row), True) if self.correlated else row == column
        return row[kept], column[kept]

    def wide(self) -> np.ndarray:
        """Return the design matrix of all levels, shape (n, levels, r)."""
        found = np.zeros((len(self.codes), self.n_levels, self.n_columns))
        found[np.arange(len(self.codes)), self.codes] = self.matrix
        return found


@dataclass(frozen=True)
class VarianceComponents:
    """A mixed model of n estimates with p fixed effects.

    Attributes
    ----------
    beta : ndarray of shape (p,)
        Fixed effects.
    covariance : ndarray of shape (p, p)
        :math:`(X'V^{-1}X)^{-1}` at the estimated variances.
    df : ndarray of shape (p,)
        Satterthwaite's degrees of freedom, at most n - p.
    random : tuple of ndarray of shape (r, r)
        Covariance of each random part's effects.
    tau2 : float or None
        Variance of the rows' own rest; None where the random parts leave nothing that could tell it from them.
    log_likelihood : float
        Restricted with REML, as metafor's.
    n_parameters : int
        Variances and covariances that were estimated.
    singular : bool
        A random part's covariance matrix has no full rank, or a variance is 0.
    converged : bool
        The end of the search is a maximum.
    """

    beta: np.ndarray
    covariance: np.ndarray
    df: np.ndarray
    random: tuple[np.ndarray, ...]
    tau2: float | None
    log_likelihood: float
    n_parameters: int
    singular: bool
    converged: bool


@dataclass(frozen=True)
class _Point:
    """The model at given variances: minus the log-likelihood, its slope, and the fixed effects."""

    value: float
    slope: np.ndarray
    beta: np.ndarray
    covariance: np.ndarray


def variance_components(
    y: np.ndarray, v: np.ndarray, X: np.ndarray, parts: Sequence[RandomPart], *, restricted: bool = True
) -> VarianceComponents:
    r"""Fit :math:`y = X\beta + \sum_k Z_k b_k + u + e`, :math:`e_i \sim N(0, v_i)` with known variances.

    The rows' own rest is :math:`u_i \sim N(0, \tau^2)`; it is left out where the random parts can take every
    value that it could add to the data's covariance, as a random intercept of the rows does.

    Covariances are :math:`G_k = L_k L_k'`, which is any covariance matrix, singular ones included. The
    likelihood is maximised from several starts by its gradient, and the best maximum is finished by Newton's method.
    Degrees of freedom are Satterthwaite's,
    :math:`2 C_{jj}^2 / (d_j' H^{-1} d_j)` with :math:`C = (X'V^{-1}X)^{-1}`, :math:`d_j` the gradient of
    :math:`C_{jj}` in the parameters and H the Hessian of minus the log-likelihood; parameters at their bound take
    no part in it. Equal to ``metafor::rma.mv`` with ``struct = "GEN"`` or ``"GDIAG"``, and where all :math:`v_i` are
    negligible to ``lme4::lmer`` and ``lmerTest``.

    Parameters
    ----------
    y, v : ndarray of shape (n,)
        Estimates, and their sampling variances, positive.
    X : ndarray of shape (n, p)
        Design matrix of rank p < n.
    parts : sequence of RandomPart
    restricted : bool, default True
        REML, or maximum likelihood.

    Raises
    ------
    DataError
        The data cannot tell the variances of the random parts from one another or from the fixed effects.
    NumericalError
        The covariance of the data is singular.

    References
    ----------
    Viechtbauer (2010), https://doi.org/10.18637/jss.v036.i03;
    Kuznetsova, Brockhoff & Christensen (2017), https://doi.org/10.18637/jss.v082.i13.

    Examples
    --------
    >>> y = np.array([0.1, 0.3, 0.6, 0.7, 0.2, 0.6, 0.9, 1.2])
    >>> people = RandomPart(np.ones((8, 1)), np.repeat(np.arange(4), 2))
    >>> drug = np.column_stack([np.ones(8), np.tile([0.0, 1.0], 4)])
    >>> fit = variance_components(y, np.full(8, 0.001), drug, [people])
    >>> fit.beta.round(3).tolist(), fit.df.round(1).tolist()
    ([0.45, 0.25], [3.2, 3.0])
    """
    n, p = X.shape
    residual = y - X @ np.linalg.lstsq(X, y, rcond=None)[0]
    size = float(np.sqrt(residual @ residual / (n - p)))
    q, triangle = np.linalg.qr(X)
    scales = [column_sizes(part.matrix) for part in parts]
    scaled = [replace(part, matrix=part.matrix / scale) for part, scale in zip(parts, scales, strict=True)]
    with_rest = rest_is_told(q, scaled)
    model = _Model(y / size, v / size**2, q, scaled, with_rest, restricted)
    theta, converged = _search(model)
    point = model.at(theta)
    df = np.minimum(_satterthwaite(model, theta, triangle), n - p)
    inverse = solve_triangular(triangle, np.eye(p))
    factors, rest = model.unpacked(theta)
    covariances = tuple(size**2 * (L @ L.T) / np.outer(scale, scale) for L, scale in zip(factors, scales, strict=True))
    own = model.log_likelihood(point) - (n - p if restricted else n) * np.log(size)
    spread = [np.linalg.svd(L, compute_uv=False).min() for L in factors] + ([abs(rest)] if with_rest else [])
    return VarianceComponents(
        inverse @ point.beta * size,
        size**2 * inverse @ point.covariance @ inverse.T,
        df,
        covariances,
        (size * rest) ** 2 if with_rest else None,
        float(own),
        len(theta),
        bool(min(spread) < 10.0 * _TINY),
        converged,
    )


def column_sizes(matrix: np.ndarray, text: str | None = None) -> np.ndarray:
    """Root mean squares (r,) of the columns of a random part, by which they are divided; ``text`` is its formula.

    Raises
    ------
    DataError
        A column is 0 throughout.
    """
    sizes = np.asarray(np.sqrt(np.mean(matrix**2, axis=0)))
    if (sizes == 0).any():
        raise DataError("a column of a random part is 0 in all usable rows", got=text, do="use a simpler random part")
    return sizes


def rest_is_told(q: np.ndarray, parts: Sequence[RandomPart]) -> bool:
    """Return whether the rows' own rest can be told from the random parts.

    Parameters
    ----------
    q : ndarray of shape (n, p)
        Orthonormal columns that span those of the fixed effects.
    parts : sequence of RandomPart

    Raises
    ------
    DataError
        The random parts cannot be told from one another, or from the fixed effects.
    """
    n, p = q.shape
    smooth = [_projected(part.wide().reshape(n, -1), q).reshape(n, part.n_levels, part.n_columns) for part in parts]
    entries = [part.entries for part in parts]
    pieces = [(wide, a, b) for wide, own in zip(smooth, entries, strict=True) for a, b in zip(*own, strict=True)]
    # twice the traces of products of P(z_a z_b' + z_b z_a')P, and last those with P itself, which is the rest's
    gram = np.full((len(pieces) + 1, len(pieces) + 1), 2.0 * (n - p))
    for i, (left, a, b) in enumerate(pieces):
        for j, (right, c, d) in enumerate(pieces[: i + 1]):
            straight = np.sum((left[:, :, b].T @ right[:, :, c]) * (left[:, :, a].T @ right[:, :, d]))
            turned = np.sum((left[:, :, b].T @ right[:, :, d]) * (left[:, :, a].T @ right[:, :, c]))
            gram[i, j] = gram[j, i] = straight + turned
        gram[i, -1] = gram[-1, i] = 2.0 * np.sum(left[:, :, a] * left[:, :, b])
    size = np.sqrt(np.diag(gram))
    if (size[:-1] <= 1e-10 * size[-1]).any():
        raise DataError(
            "the fixed effects take all that a random part could explain",
            do="leave one of the two out: a grouping cannot be a fixed and a random effect",
        )
    gram = gram / np.outer(size, size)
    if np.linalg.eigvalsh(gram)[0] > _CONFUSED:
        return True
    if np.linalg.eigvalsh(gram[:-1, :-1])[0] <= _CONFUSED:
        raise DataError(
            "the random parts cannot be told apart: they make the same covariance of the data",
            do="leave one of them out, or write '||' for uncorrelated effects",
        )
    return False


def _projected(columns: np.ndarray, q: np.ndarray) -> np.ndarray:
    return np.asarray(columns - q @ (q.T @ columns))


class _Model:
    """Minus the log-likelihood of the variances, for data whose rows hang together in blocks.

    The covariance is A + U U': A is block-diagonal, with the parts of many levels; U has the columns of parts with few
    levels, as of sites. So the work grows with the size of the blocks, and not with that of the data.
    """

    def __init__(
        self,
        y: np.ndarray,
        v: np.ndarray,
        q: np.ndarray,
        parts: Sequence[RandomPart],
        with_rest: bool,
        restricted: bool,
    ) -> None:
        self.n, self.p = q.shape
        self.parts, self.with_rest, self.restricted = parts, with_rest, restricted
        self.local, place = _blocks(parts, self.n)
        self.shape = place.max(axis=0) + 1
        self.place = (place[:, 0], place[:, 1])
        self.filled = self._spread(np.ones(self.n)) > 0
        self.v = self._spread(v)
        self.data = self._spread(np.column_stack([y, q]))
        self.Z = [self._spread(part.matrix) for part in parts]
        codes = [self._spread(part.codes + 1.0) for part in parts]
        self.same = [(own[:, :, None] == own[:, None, :]) & (own[:, :, None] > 0) for own in codes]
        self.wide = {k: self._spread(part.wide()) for k, part in enumerate(parts) if not self.local[k]}
        rows = np.arange(self.n)
        self.sums = [csr_array((np.ones(self.n), (part.codes, rows))) for part in parts]
        self.widths = [len(part.entries[0]) for part in parts]

    def _spread(self, values: np.ndarray) -> np.ndarray:
        found = np.zeros((*self.shape, *values.shape[1:]))
        found[self.place] = values
        return found

    def unpacked(self, theta: np.ndarray) -> tuple[list[np.ndarray], float]:
        """Return the factors L of the random parts' covariances, and the standard deviation of the rest."""
        factors, start = [], 0
        for part, width in zip(self.parts, self.widths, strict=True):
            L = np.zeros((part.n_columns, part.n_columns))
            L[part.entries] = theta[start : start + width]
            factors.append(L)
            start += width
        return factors, float(theta[start]) if self.with_rest else 0.0

    def start(self, share: float, rest: float) -> np.ndarray:
        """Return parameters with which random parts have a share of the variance, and the rows' rest another."""
        roots = [np.eye(part.n_columns)[part.entries] * np.sqrt(share / len(self.parts)) for part in self.parts]
        return np.concatenate([*roots, [np.sqrt(rest)] if self.with_rest else []])

    def log_likelihood(self, point: _Point) -> float:
        """Return the log-likelihood with its constants."""
        lost = self.n - self.p if self.restricted else self.n
        return float(-point.value - 0.5 * lost * np.log(2.0 * np.pi))

    def at(self, theta: np.ndarray) -> _Point:
        """Return the model at some parameters."""
        factors, rest = self.unpacked(theta)
        A = np.einsum("ci,ij->cij", np.where(self.filled, self.v + rest**2, 1.0), np.eye(self.shape[1]))
        for k, L in enumerate(factors):
            if self.local[k]:
                half = self.Z[k] @ L
                A += self.same[k] * (half @ half.transpose(0, 2, 1))
        try:
            root = np.linalg.cholesky(A)
        except np.linalg.LinAlgError as failed:
            raise NumericalError("the covariance of the estimates is singular", do="leave out extreme ones") from failed
        inverse = np.linalg.inv(root)
        data = (inverse @ self.data).reshape(-1, 1 + self.p)
        wide = {k: np.einsum("cij,cjla->cila", inverse, own) for k, own in self.wide.items()}
        low = [np.einsum("cila,ab->cilb", own, factors[k]).reshape(len(data), -1) for k, own in wide.items()]
        U = np.concatenate(low, axis=1) if low else np.zeros((len(data), 0))
        inner = np.linalg.cholesky(np.eye(U.shape[1]) + U.T @ U)
        K = solve_triangular(inner, U.T, lower=True) if U.shape[1] else U.T
        log_determinant = 2.0 * float(
            np.sum(np.log(np.diagonal(root, axis1=1, axis2=2))) + np.sum(np.log(np.diag(inner)))
        )
        white = data - K.T @ (K @ data)  # as V^-1 = inverse' (1 - K'K) inverse
        information = data[:, 1:].T @ white[:, 1:]
        whole = cho_factor(information, lower=True)
        beta = cho_solve(whole, data[:, 1:].T @ white[:, 0])
        error = white @ np.concatenate([[1.0], -beta])
        rss = float((data @ np.concatenate([[1.0], -beta])) @ error)
        value = 0.5 * (log_determinant + rss)
        if self.restricted:
            value += float(np.sum(np.log(np.diag(whole[0]))))
        slope = self._slope(theta, factors, rest, inverse, wide, K, white, whole, error)
        return _Point(value, slope, beta, cho_solve(whole, np.eye(self.p)))

    def _slope(
        self,
        theta: np.ndarray,
        factors: list[np.ndarray],
        rest: float,
        inverse: np.ndarray,
        wide: dict[int, np.ndarray],
        K: np.ndarray,
        white: np.ndarray,
        whole: tuple[np.ndarray, bool],
        error: np.ndarray,
    ) -> np.ndarray:
        """Return the gradient, from P = A^-1 - F F' within the levels of each part, and from w = P y."""
        up = inverse.transpose(0, 2, 1)
        columns = [K.T, error[:, None]]
        if self.restricted:
            columns.insert(1, solve_triangular(whole[0], white[:, 1:].T, lower=True).T)
        both = (up @ np.concatenate(columns, axis=1).reshape(*self.shape, -1))[self.place]
        F, w = both[:, :-1], both[:, -1]
        precision = up @ inverse
        found = np.empty_like(theta)
        start = 0
        for k, (part, L) in enumerate(zip(self.parts, factors, strict=True)):
            if self.local[k]:
                first = np.einsum("cia,cij,cjb->ab", self.Z[k], self.same[k] * precision, self.Z[k])
            else:
                first = np.einsum("cila,cilb->ab", wide[k], wide[k])
            sums = np.stack([self.sums[k] @ (part.matrix[:, [a]] * F) for a in range(part.n_columns)])
            own = np.stack([self.sums[k] @ (part.matrix[:, a] * w) for a in range(part.n_columns)])
            S = first - np.einsum("alh,blh->ab", sums, sums) - own @ own.T
            found[start : start + self.widths[k]] = (S @ L)[part.entries]
            start += self.widths[k]
        if self.with_rest:
            trace = float(np.sum(np.einsum("cii->ci", precision)[self.filled]) - np.sum(F * F))
            found[start] = (trace - w @ w) * rest
        return found


def _blocks(parts: Sequence[RandomPart], n: int) -> tuple[list[bool], np.ndarray]:
    """Return which parts are in the blocks, and each row's block and place in it, shape (n, 2)."""
    local = [True] * len(parts)
    while True:
        block = linked_rows([part.codes for part, inside in zip(parts, local, strict=True) if inside], n)
        if not any(local) or np.bincount(block).max() <= _LARGEST_BLOCK:
            break
        fewest = min((part.n_levels * part.n_columns, k) for k, part in enumerate(parts) if local[k])[1]
        local[fewest] = False
    order = np.argsort(block, kind="stable")
    counts = np.bincount(block)
    place = np.empty((n, 2), dtype="int64")
    place[:, 0] = block
    place[order, 1] = np.arange(n) - np.repeat(np.cumsum(counts) - counts, counts)
    return local, place


def linked_rows(codes: Sequence[np.ndarray], n: int) -> np.ndarray:
    """Return which of n rows hang together by sharing levels of a grouping, as codes of shape (n,).

    Examples
    --------
    >>> linked_rows([np.array([0, 0, 1, 2]), np.array([0, 1, 2, 2])], 4).tolist()
    [0, 0, 1, 1]
    """
    offsets = n + np.concatenate([[0], np.cumsum([own.max() + 1 for own in codes])]).astype("int64")
    rows = np.tile(np.arange(n), len(codes))
    levels = np.concatenate([[], *(own + offset for own, offset in zip(codes, offsets, strict=False))])
    total = int(offsets[-1])
    graph = csr_array((np.ones(len(rows)), (rows, levels.astype("int64"))), shape=(total, total))
    return np.unique(connected_components(graph, directed=False)[1][:n], return_inverse=True)[1]


def _search(model: _Model) -> tuple[np.ndarray, bool]:
    """Return the parameters of the best maximum of all starts, and whether it is one."""

    def value_and_slope(theta: np.ndarray) -> tuple[float, np.ndarray]:
        point = model.at(theta)
        return point.value, point.slope

    found = [
        minimize(value_and_slope, model.start(*shares), jac=True, method="BFGS", options={"gtol": 1e-6})
        for shares in _STARTS
    ]
    best = min(found, key=lambda end: end.fun)
    return _newton(model, np.asarray(best.x))


def _newton(model: _Model, theta: np.ndarray) -> tuple[np.ndarray, bool]:
    """Finish a search; directions without curvature, as of variances of 0, are left where they are."""
    point, gain = model.at(theta), np.inf
    for _ in range(_NEWTON_STEPS):
        values, vectors = np.linalg.eigh(_hessian(model, theta)[0])
        along = vectors.T @ point.slope
        size = np.where(np.abs(values) < 1e-8 * max(1.0, float(np.abs(values).max())), np.inf, np.abs(values))
        gain = 0.5 * float(np.sum(along**2 / size))
        step = vectors @ (-along / size)
        if values[0] < -1e-4 and gain < _STILL_TO_GAIN:
            step, gain = step + 0.1 * vectors[:, 0], np.inf  # a saddle, as a variance of 0 may be
        elif gain < 1e-6 * _STILL_TO_GAIN:
            break
        step = step / max(1.0, float(np.abs(step).max()))
        # rounding must not refuse the last steps
        allowed = point.value + 1e-12 * (1.0 + abs(point.value))
        following = model.at(theta + step)
        while following.value > allowed and np.abs(step).max() > 1e-12:
            step = step / 4.0
            following = model.at(theta + step)
        if following.value > allowed:
            break
        theta, point = theta + step, following
    small = np.abs(theta) < _TINY
    if small.any() and model.at(np.where(small, 0.0, theta)).value <= point.value + 1e-9:
        theta = np.where(small, 0.0, theta)
    return theta, gain < _STILL_TO_GAIN


def _hessian(model: _Model, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the Hessian (k, k), and the derivative of the fixed effects' covariance (k, p, p), from differences."""
    slopes, covariances = [], []
    for place in range(len(theta)):
        step = np.zeros(len(theta))
        step[place] = _STEP * max(0.1, abs(theta[place]))
        above, below = model.at(theta + step), model.at(theta - step)
        slopes.append((above.slope - below.slope) / (2.0 * step[place]))
        covariances.append((above.covariance - below.covariance) / (2.0 * step[place]))
    hessian = np.array(slopes)
    return 0.5 * (hessian + hessian.T), np.array(covariances)


def _satterthwaite(model: _Model, theta: np.ndarray, triangle: np.ndarray) -> np.ndarray:
    """Return the degrees of freedom of the fixed effects in the units of X = Q R, with R the ``triangle``."""
    hessian, slopes = _hessian(model, theta)
    values, vectors = np.linalg.eigh(hessian)
    curved = values > 1e-6 * max(1.0, float(values.max()))
    inverse = solve_triangular(triangle, np.eye(model.p))
    variance = np.einsum("ja,ab,jb->j", inverse, model.at(theta).covariance, inverse)
    gradient = np.einsum("ja,kab,jb->jk", inverse, slopes, inverse) @ vectors[:, curved]
    spread = np.sum(gradient**2 / values[curved], axis=1)
    known = spread > 2.0 * variance**2 * 1e-12
    return np.where(known, 2.0 * variance**2 / np.where(known, spread, 1.0), np.inf)
