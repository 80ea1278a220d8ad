"""spice_ladder: how much of what is predictable in people's next choices the equations predict."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from spicestat._checks import seed_number, whole_number
from spicestat._display import html_block, screen
from spicestat._runtime.blas import on_one_blas_thread
from spicestat._runtime.progress import Progress
from spicestat.errors import ConfigError, NumericalError
from spicestat.fit.held_out import Fold, Over, make_folds
from spicestat.fit.history import HistoryFit
from spicestat.fit.ladder_rungs import Rung, rungs_of
from spicestat.fit.network_fit import SpiceFit
from spicestat.fit.task_fit import TaskFit
from spicestat.trials.labels import labels_to_series

__all__ = ["LadderResult", "spice_ladder"]

_MOST_MEMBERS = 3
_TITLES = {
    "shares": "choice shares",
    "lags": "last five choices and rewards",
    "mixed_logit": "mixed logit on the library",
    "equations": "equations",
    "network": "network",
    "gru": "GRU",
}


@dataclass(frozen=True, eq=False, repr=False)
class LadderResult:
    """How well choices that were left out are predicted, rung by rung.

    Attributes
    ----------
    table : DataFrame
        One row per rung, from the simplest up: ``rung``; ``nll`` (mean negative log-likelihood per choice, nats) and
        ``accuracy`` (share of choices that were the most probable ones); ``least_probability`` of a choice that was
        made; ``difference`` (its nll less that of the equations) with ``std_error`` over people; ``n_free`` (values
        estimated for a fold, the largest number) and ``seconds`` of processor time over all folds.
    people : DataFrame
        One row per participant and rung: ``participant``, ``rung``, ``n_choices``, ``nll``, ``accuracy``.
    settings : mapping
        ``over``, ``folds`` (their number), ``seed``, ``members``, ``n_participants``, ``n_choices``, ``n_actions``.
    """

    table: pd.DataFrame
    people: pd.DataFrame
    settings: Mapping[str, Any]

    @property
    def best(self) -> str:
        """The rung that predicts best."""
        return str(self.table["rung"].iloc[int(self.table["nll"].argmin())])

    @property
    def share_predicted(self) -> float:
        r"""How much of what is predictable the equations predict.

        :math:`(\mathrm{NLL}_\text{shares} - \mathrm{NLL}_\text{equations}) / (\mathrm{NLL}_\text{shares} -
        \mathrm{NLL}_\text{best rung})`: 1 where no rung predicts better, 0 where equations predict as choice shares
        do, below 0 where they predict worse. NaN without these two rungs, or where nothing predicts better than shares.
        """
        nll = self.table.set_index("rung")["nll"]
        if not {"shares", "equations"} <= set(nll.index) or not nll["shares"] > nll.min():
            return math.nan
        return float((nll["shares"] - nll["equations"]) / (nll["shares"] - nll.min()))

    def tidy(self) -> pd.DataFrame:
        """Return a copy of the table, one row per rung."""
        return self.table.copy()

    def glance(self) -> pd.DataFrame:
        """Return one row: the settings, the best rung, and `share_predicted`."""
        guessing = {"nll_guessing": math.log(self.settings["n_actions"])}
        row = {**self.settings, **guessing, "best": self.best, "share_predicted": self.share_predicted}
        return pd.DataFrame([row])

    def plot(self, ax: Any = None) -> Any:
        """Draw the rungs' nll with 95 % intervals of its difference from the equations'; return the Figure."""
        from spicestat._drawing import panels

        axes = panels(1, 5.0, 3.0)[1][0] if ax is None else ax
        shown = self.table[np.isfinite(self.table["nll"])]
        place = -np.arange(len(shown))
        axes.errorbar(shown["nll"], place, xerr=1.96 * shown["std_error"].fillna(0.0), fmt="o", capsize=2)
        for nll in shown.loc[shown["rung"] == "equations", "nll"]:
            axes.axvline(nll, color="#9aa5ad", linewidth=0.8, zorder=0)
        axes.set(xlabel="NLL per left-out choice, nats")
        axes.set_yticks(place, [_TITLES[rung] for rung in shown["rung"]])
        return axes.figure

    @property
    def title(self) -> str:
        """What was predicted, in words."""
        given = self.settings
        return (
            f"LadderResult: {given['n_choices']} left-out choices of {given['n_participants']} participants, "
            f"{given['folds']} fold{'s' if given['folds'] > 1 else ''} over {given['over']}"
        )

    @property
    def verdict(self) -> str:
        """`share_predicted` in words, "" where there is none."""
        if math.isnan(self.share_predicted):
            return ""
        nll = self.table.set_index("rung")["nll"]
        return (
            f"equations predict {100 * self.share_predicted:.0f} % of the predictable "
            f"(NLL: choice shares {nll['shares']:.4f}, equations {nll['equations']:.4f}, "
            f"best rung, {self.best}, {nll.min():.4f})"
        )

    def __repr__(self) -> str:
        rows = self.table.drop(columns="least_probability").to_string(index=False, float_format="{:.4f}".format)
        return screen("\n".join([self.title, rows, self.verdict]).rstrip(), "tidy() and glance()")

    def _repr_html_(self) -> str:
        return html_block(self.title, [note for note in [self.verdict] if note], self.table)


@on_one_blas_thread
def spice_ladder(
    fit: SpiceFit | HistoryFit | TaskFit,
    rungs: str | Sequence[str] | None = None,
    *,
    over: Over = "blocks",
    folds: int = 3,
    members: int = 1,
    seed: int = 0,
    progress: Progress | None = None,
) -> LadderResult:
    """Predict choices that were left out by a fit's equations, and by models that anybody could use instead.

    Every rung is fitted to the other folds only, and predicts each choice of the fold from what came before it in its
    block:

    * ``"shares"``: how often the person chooses each action, shrunken to the population.
    * ``"lags"``: weights of the last five choices and rewards, everybody's, with a ridge to those of all people
      together that is chosen within the training choices.
    * ``"mixed_logit"``: weights of all states of the library of ``model="history"``, without a search; ten of them
      are everybody's own, from a normal population, the others the population's.
    * ``"equations"``: the fit's, found and estimated anew without the fold, by its model and settings.
    * ``"network"``: the network that these equations come from; of a `HistoryFit` the one on top of them; of a
      `TaskFit` there is none.
    * ``"gru"``: a recurrent network with 16 units and an embedding of participants, trained until it no longer
      predicts everybody's last training block better.

    Equations that lose to a lower rung have missed something that people do.

    Parameters
    ----------
    fit : SpiceFit, HistoryFit or TaskFit
        Any fit of choices.
    rungs : str or sequence of str, optional
        Some of these. Default: all.
    over : {"blocks", "people"}, default "blocks"
        What is left out: each of everybody's blocks once (of people with one block its last fifth, with what came
        before); or people, who are predicted by the population's distribution (`HistoryFit`, `TaskFit`, lags, mixed
        logit), typical equations and embeddings (`SpiceFit`), or the average over 32 of the people in training (GRU).
    folds : int, default 3
        2 or more; no more than there are blocks, or people. Costs as many fits as folds.
    members : int, default 1
        GRUs whose probabilities are averaged, 1 to 3.
    seed : int, default 0
        Of the folds and of the GRU.
    progress : callable, optional
        Called with ("ladder", done, total, message).

    Returns
    -------
    LadderResult

    Raises
    ------
    ConfigError
        An unknown rung, a setting that is out of range, or a model of choices and response times.
    DataError
        Nothing can be left out, or too little is left to fit.
    NumericalError
        A rung gives no probability.

    Examples
    --------
    >>> from spicestat import simulate_cohort, spice_fit
    >>> fit = spice_fit(simulate_cohort(6, 120, n_blocks=3).trials, block="block", model="history")
    >>> ladder = spice_ladder(fit, ["shares", "lags", "equations"])
    >>> ladder.table["rung"].tolist(), ladder.settings["n_choices"]
    (['shares', 'lags', 'equations'], 702)
    """
    if fit.trials.record["columns"].get("rt"):
        raise ConfigError("a model of choices and response times has no probabilities of choices alone")
    if over not in ("blocks", "people"):
        raise ConfigError("unknown `over`", got=over, allowed="'blocks' or 'people'")
    n_folds, seed = whole_number("folds", folds, 2), seed_number(seed)
    if whole_number("members", members, 1) > _MOST_MEMBERS:
        raise ConfigError("members is out of range", got=members, allowed=f"1 to {_MOST_MEMBERS}")
    chosen = _chosen(rungs, rungs_of(fit, members, seed))
    parts = make_folds(fit.trials, over, n_folds, seed)
    scores = []
    for number, fold in enumerate(parts):
        for place, (name, rung) in enumerate(chosen.items()):
            if progress is not None:
                progress("ladder", number * len(chosen) + place, len(parts) * len(chosen), f"{name}, fold {number + 1}")
            scores.append(_scored(name, rung, fold))
    if progress is not None:
        progress("ladder", len(scores), len(scores), "")
    who = fit.trials.frame["participant"].to_numpy()[np.concatenate([fold.row for fold in parts])]
    people = _by_person(who, {name: [s for s in scores if s.name == name] for name in chosen})
    settings = {
        "over": over,
        "folds": len(parts),
        "seed": seed,
        "members": members,
        "n_participants": len(np.unique(who)),
        "n_choices": len(who),
        "n_actions": fit.trials.n_actions,
    }
    labelled = people.assign(participant=labels_to_series(fit.trials.participants, people["participant"].to_numpy()))
    return LadderResult(_table(people, scores), labelled, settings)


def _chosen(wanted: str | Sequence[str] | None, offered: dict[str, Rung]) -> dict[str, Rung]:
    """Return the wanted rungs, in the order of the ladder."""
    names = list(offered) if wanted is None else [wanted] if isinstance(wanted, str) else list(wanted)
    unknown = [name for name in names if name not in offered]
    if unknown or not names:
        raise ConfigError("no such rung for this fit", got=unknown or "none", allowed=", ".join(offered))
    return {name: rung for name, rung in offered.items() if name in names}


@dataclass(frozen=True, eq=False)
class _Score:
    """What a rung said about a fold: log-probability of each choice, and whether it was the most probable one."""

    name: str
    log_p: np.ndarray
    hit: np.ndarray
    n_free: int
    seconds: float


def _scored(name: str, rung: Rung, fold: Fold) -> _Score:
    begun = time.process_time()
    found = rung(fold)
    seconds = time.process_time() - begun
    choice = fold.test.frame["choice"].to_numpy()[fold.held]
    made = found.probabilities[np.arange(len(choice)), choice]
    if not np.isfinite(made).all():
        raise NumericalError(
            f"the rung '{name}' gives no probability for {int((~np.isfinite(made)).sum())} choices",
            do="leave it out with `rungs`",
        )
    with np.errstate(divide="ignore"):
        return _Score(name, np.log(made), made >= found.probabilities.max(axis=1), found.n_free, seconds)


def _by_person(who: np.ndarray, scores: Mapping[str, Sequence[_Score]]) -> pd.DataFrame:
    """Mean scores of everybody on every rung; ``who`` made the choices, in the order of the folds."""
    frames = []
    for name, parts in scores.items():
        nll = -np.concatenate([part.log_p for part in parts])
        hit = np.concatenate([part.hit for part in parts]).astype("float64")
        each = pd.DataFrame({"participant": who, "nll": nll, "accuracy": hit}).groupby("participant")
        means = each.mean().reset_index()
        means.insert(1, "rung", name)
        means.insert(2, "n_choices", each.size().to_numpy())
        frames.append(means)
    return pd.concat(frames, ignore_index=True)


def _table(people: pd.DataFrame, scores: Sequence[_Score]) -> pd.DataFrame:
    """Lay out the rungs' scores over all choices."""
    of_rung = {str(name): rows for name, rows in people.groupby("rung", sort=False)}
    reference = of_rung.get("equations")
    rows = []
    for name, own in of_rung.items():
        n, nll = own["n_choices"].to_numpy(), own["nll"].to_numpy()
        parts = [score for score in scores if score.name == name]
        other = np.full(len(n), np.nan) if reference is None else reference["nll"].to_numpy()
        difference, std_error = _mean_and_error(nll - other, n) if name != "equations" else (0.0, 0.0)
        rows.append(
            {
                "rung": name,
                "nll": float(nll @ n / n.sum()),
                "accuracy": float(own["accuracy"] @ n / n.sum()),
                "least_probability": math.exp(min(float(part.log_p.min()) for part in parts)),
                "difference": difference,
                "std_error": std_error,
                "n_free": max(part.n_free for part in parts),
                "seconds": sum(part.seconds for part in parts),
            }
        )
    return pd.DataFrame(rows)


def _mean_and_error(values: np.ndarray, n: np.ndarray) -> tuple[float, float]:
    """Mean over choices of people's means (N,), and its standard error over people (NaN with one)."""
    mean = float(values @ n / n.sum())
    if len(n) < 2 or not math.isfinite(mean):
        return mean, math.nan
    away = (values - mean) * n
    return mean, float(np.sqrt((away**2).sum() * len(n) / (len(n) - 1)) / n.sum())
