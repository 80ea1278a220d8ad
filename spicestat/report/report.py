"""spice_report: one HTML page about a fit, and about a group model of its coefficients."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd

from spicestat._runtime.blas import on_one_blas_thread
from spicestat._runtime.progress import Progress, silent
from spicestat.equations.structure.equation_set import FREE
from spicestat.errors import ConfigError
from spicestat.fit.history import HistoryFit, unit_factors
from spicestat.fit.kernels import Kernels
from spicestat.fit.ladder import LadderResult
from spicestat.fit.network_fit import SpiceFit
from spicestat.fit.task_fit import TaskFit
from spicestat.group.result import GroupResult
from spicestat.report.effects import effect_sections, kernels_by_level
from spicestat.report.figures import (
    embedding_figure,
    embeddings_of,
    events_of,
    own_coefficients,
    people_figure,
    training_figure,
)
from spicestat.report.in_short import in_short
from spicestat.report.levels import people_levels
from spicestat.report.page import Section, picture, sheet, write_page
from spicestat.report.predictions import check_sections, prediction_sections
from spicestat.report.typeset import equation_math, logit_math
from spicestat.report.wording import methods, state_in_words, term_in_words
from spicestat.studies.card import CardResult
from spicestat.trials.table import TrialTable

__all__ = ["check_page", "spice_report"]

_SHOWN_FLAGS = 15
_STEPS = 4


@on_one_blas_thread
def spice_report(
    fit: SpiceFit | HistoryFit | TaskFit,
    group: GroupResult | None = None,
    path: str | Path = "report.html",
    *,
    ladder: LadderResult | None = None,
    card: CardResult | None = None,
    scores: pd.DataFrame | None = None,
    title: str = "spicestat report",
    progress: Progress | None = None,
) -> Path:
    """Write an HTML page that says what was fitted to what, how well it predicts, and what it means.

    The page is one file, loads nothing, runs no script, and shows whatever the data hold as text. It has the results in
    short, what was read and left out, predictions beside simpler ones, the equations with what their states are, what
    one reward and one choice does (of a `HistoryFit`, whose kernels are computed), of everybody and at levels of the
    covariates, or how the network was trained and where it sees people, people, choices that the fit draws beside the
    observed ones, also by the first covariate, effects of covariates by the group model and by other methods, and
    paragraphs for a paper's methods. What contradicts itself comes first.

    Parameters
    ----------
    fit : SpiceFit, HistoryFit or TaskFit
    group : GroupResult, optional
        A group model of its coefficients.
    path : path, default "report.html"
        The file to write, which ends in ``.html``; an older one is replaced.
    ladder : LadderResult, optional
        Of the same fit, as `spice_ladder` returns it.
    card : CardResult, optional
        Of the same fit, as `spice_card` returns it.
    scores : DataFrame, optional
        Shown instead of ``fit.scores``, for example with an oracle's row.
    title : str, default "spicestat report"
    progress : callable, optional
        Called with ("report", done, total, what is computed next).

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ConfigError
        The path does not end in ``.html``.
    StorageError
        It cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from spicestat import simulate_cohort, spice_fit
    >>> fit = spice_fit(simulate_cohort(6, 60, seed=1).trials, block="block", trial="trial")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     spice_report(fit, path=f"{folder}/fit.html").stat().st_size > 10_000
    True
    """
    check_page(path)
    report = progress or silent
    glance = fit.glance().iloc[0]
    n_choices, n_trials = int(glance["nobs"]), len(fit.trials.frame)
    summary = (
        f"{fit.coefficients.counted}, {n_choices:,} choices predicted in {n_trials:,} trials, model {glance['model']}. "
        "Choices before which nothing is known, such as the first of a block, are not predicted."
    )
    warnings = [text[:1].upper() + text[1:] + "." for text in fit.contradictions]
    scores = fit.scores if scores is None else scores
    report("report", 0, _STEPS, "what one event does")
    kernels = fit.kernels(events=events_of(fit)) if isinstance(fit, HistoryFit) else None
    report("report", 1, _STEPS, "what one event does, by covariate")
    by_level = kernels_by_level(fit, group)
    report("report", 2, _STEPS, "choices that the fit draws")
    sections = [
        in_short(scores, kernels, group, by_level),
        _data(fit.trials),
        *prediction_sections(scores, ladder),
        *_model(fit, kernels, group),
        _people(fit),
        *check_sections(fit, group),
    ]
    report("report", 3, _STEPS, "effects by other methods")
    if group is not None:
        warnings += [text[:1].upper() + text[1:] for text in (*_unidentified(fit, group), *group.messages)]
        sections += effect_sections(fit, group, by_level)
    if card is not None:
        sections.append(_card(card))
    sections.append(Section("Methods, to paste", methods(fit, group, card)))
    report("report", _STEPS, _STEPS, "")
    return write_page(path, title, summary, warnings, sections)


def check_page(path: str | Path) -> None:
    """Refuse a name that does not end in ``.html``, before anything is computed.

    Raises
    ------
    ConfigError
    """
    if Path(path).suffix.lower() not in (".html", ".htm"):
        raise ConfigError("a report is a web page", got=str(path), allowed="a name that ends in .html")


def _unidentified(fit: SpiceFit | HistoryFit | TaskFit, group: GroupResult) -> list[str]:
    """Say what has no identified estimate, and what therefore does not enter the group model."""
    share, n_excluded = fit.coefficients.share_unidentified, int(group.glance()["n_excluded"].sum())
    if not share or not n_excluded:
        return []
    n_people = round(share * fit.trials.n_participants)
    return [
        f"{n_people} of {fit.trials.n_participants} participants have no identified estimate; "
        f"{n_excluded} of their coefficients do not enter the group model."
    ]


def _data(trials: TrialTable) -> Section:
    """Say what was read, how it was understood, and what was left out and why."""
    record = trials.record
    roles = {role: column for role, column in record["columns"].items() if column}
    facts = {
        "participants": trials.n_participants,
        "blocks": len(trials.blocks),
        "trials": len(trials.frame),
        "choices missing": record["n_missing_choices"],
        "rewards missing": record["n_missing_rewards"],
        "actions": ", ".join(map(str, trials.actions)),
        "rewards": record["reward_note"],
        **{f"column: {role}": _named(column) for role, column in roles.items()},
    }
    tables = [
        sheet(pd.DataFrame({"what": list(facts), "value": [str(value) for value in facts.values()]}), "The trials")
    ]
    for name, caption in (("unused_columns", "Columns that were not used"), ("unused_rows", "Rows that were not used")):
        if record.get(name):
            rows = pd.DataFrame({"what": list(record[name]), "why": list(record[name].values())})
            tables.append(sheet(rows, caption, folded=True))
    excluded = pd.DataFrame(record["excluded"])
    if len(excluded):
        tables.append(sheet(excluded, "Participants that were left out"))
    if record.get("constant"):
        constant = pd.DataFrame({"participant": list(map(str, record["constant"]))})
        tables.append(sheet(constant, "Participants who made the same choice throughout, and were kept", folded=True))
    return Section("Data", tables=tables)


def _named(column: object) -> str:
    if isinstance(column, str):
        return column
    if isinstance(column, dict):
        return "; ".join(f"{name}: {_named(value)}" for name, value in column.items())
    return ", ".join(map(str, column)) if isinstance(column, list | tuple) else str(column)


def _model(fit: SpiceFit | HistoryFit | TaskFit, kernels: Kernels | None, group: GroupResult | None) -> list[Section]:
    if isinstance(fit, TaskFit):
        return _task(fit)
    if isinstance(fit, HistoryFit) and kernels is not None:
        return _history(fit, kernels)
    return _equations(fit, group) if isinstance(fit, SpiceFit) else []


def _task(fit: TaskFit) -> list[Section]:
    """Write a published model with its source, and the population of its parameters."""
    meanings = pd.DataFrame([(one.name, one.meaning) for one in fit.task.parameters], columns=["term", "meaning"])
    table = meanings.merge(fit.population(), on="term")
    text = f"{fit.task.title[:1].upper()}{fit.task.title[1:]}. Source: {fit.task.source}."
    caption = "The population, on the scale of each parameter's link"
    return [Section("Equations", [text], [fit.task.equations], tables=[sheet(table, caption)])]


def _history(fit: HistoryFit, kernels: Kernels) -> list[Section]:
    """States in words with their weights, and kernels."""
    pooled = fit.pooled
    own = np.arange(len(pooled.states)) < pooled.n_own
    factors = unit_factors(pooled.states, pooled.reward_size)
    table = pd.DataFrame(
        {
            "state": pooled.names,
            "what it is": [state_in_words(declared) for declared in pooled.states],
            "mean weight": pooled.mean * factors,
            "std. error": pooled.std_error * factors,
            "SD between people": np.append(pooled.sd, np.full((~own).sum(), math.nan)) * factors,
            "whose": np.where(own, "each person's", "the population's"),
        }
    )
    texts = [
        "The log odds η of each action a are a weighted sum of states s, each of which follows from what was seen "
        "before the choice. Between two actions, one more unit of log odds turns an even chance into 73 %, two into "
        "88 %.",
        "A trace is a running average: one that keeps 0.8 is made of 0.8 of what it was and 0.2 of what was seen last, "
        "so that the smaller the number, the sooner the past is forgotten. Single weights of similar states say "
        "little; the next section says what they make together.",
    ]
    rows = kernels.influence.query("scope == 'population'").drop(columns=["scope", "participant"])
    figure = picture(
        kernels.plot(),
        "Change in the log odds of repeating an action, by the number of choices since one "
        + " and one ".join(dict.fromkeys(rows["event"]))
        + ", with 95 % intervals",
    )
    return [
        Section("The equation", texts, formulas=[logit_math()], tables=[sheet(table, "Weights, in log odds per unit")]),
        Section(
            "What one event does to the next choices",
            [
                "How much more likely an action is repeated, in log odds, the given number of choices after its reward "
                "was the highest instead of the lowest, or after it was chosen instead of another. Half-lives and "
                "learning rates are empty where the curve is above 0 at some choices and below at others."
            ],
            figures=[figure],
            tables=[sheet(rows, "Total influence, half-life in choices, and effective learning rate")],
        ),
    ]


def _equations(fit: SpiceFit, group: GroupResult | None) -> list[Section]:
    equations = fit.equations_frame()
    shown = fit.trials.participants
    first = equations["participant"] == shown[0]
    training = fit.glance()[["epochs", "stopped", "nll_rnn", "share_unidentified"]]
    text = (
        f"The equations of participant {shown[0]}, with k for the trial; those of others have other numbers, and where "
        "structures are people's own, other terms."
    )
    figures = [picture(training_figure(fit), "Negative log-likelihood per choice of the network, by training epoch")]
    about = ["The network that the equations were read off; the line is the epoch whose weights were taken."]
    if embeddings_of(fit) is not None:
        known = people_levels(fit, group)
        figures.append(picture(embedding_figure(fit, known), "Map of people: two main directions of their embeddings"))
        about.append(
            "The map shows where the network sees people: those who are near choose alike in its eyes. Directions have "
            "no meaning of their own."
        )
    return [
        Section(
            "Equations",
            [text],
            formulas=[equation_math(line) for line in equations.loc[first, "equation"]],
            tables=[
                sheet(_terms(fit), "What the terms mean, and how they vary between people"),
                sheet(equations, "Everybody's equations", folded=True),
            ],
        ),
        Section(
            "Training",
            about,
            figures=figures,
            tables=[sheet(training, "The network", folded=True)],
        ),
    ]


def _terms(fit: SpiceFit) -> pd.DataFrame:
    """Say what each estimated term does, with the quartiles of people's coefficients."""
    equations = fit.model.equations
    values = fit.coefficients.wide().to_numpy()
    rows = []
    for k, (module, term) in enumerate(equations.terms):
        free = equations.status[:, k] == FREE
        if free.any():
            low, middle, high = np.quantile(values[free, k], [0.25, 0.5, 0.75])
            meaning = term_in_words(module, term, bool(equations.own_state[k]), term in fit.model.network.bounds)
            rows.append((module, term, meaning, int(free.sum()), middle, low, high))
    columns = ["module", "term", "meaning", "people", "median", "lower quartile", "upper quartile"]
    return pd.DataFrame(rows, columns=columns)


def _people(fit: SpiceFit | HistoryFit | TaskFit) -> Section:
    """Everybody's coefficients: a figure of how they differ, and the table."""
    table, n_own = fit.tidy(), len(own_coefficients(fit))
    figures = (
        [picture(people_figure(fit), f"Spread of {n_own} coefficients over people, a point each")] if n_own else []
    )
    names = [name for name in ("estimate", "std_error", "pooled", "pooled_sd") if name in table]
    labels = list(table.columns[: list(table.columns).index("term") + 1])
    return Section(
        "People",
        ["Each point is a person; the line is the median." if n_own else "Nothing is people's own."],
        figures=figures,
        tables=[sheet(table[[*labels, *names]], "Everybody's coefficients", folded=True)],
    )


def _card(card: CardResult) -> Section:
    """Say what is flagged, a paragraph each, and list all checks."""
    flagged, n_studies = card.flagged, card.settings["n_simulations"]
    text = (
        f"{len(flagged)} of {len(card.table)} checks are flagged. Simulated studies ({n_studies}) have the same people "
        "and trials, and in them everybody chooses anew after what was observed."
    )
    rows = flagged[["check", "subject", "meaning"]].astype(str).to_numpy().tolist()
    told = [f"{check.capitalize()}, {subject}: {meaning}." for check, subject, meaning in rows]
    if len(told) > _SHOWN_FLAGS:
        told[_SHOWN_FLAGS:] = [f"{len(flagged) - _SHOWN_FLAGS} more are in the table."]
    return Section(
        "What the coefficients can be relied on for",
        [text, *told],
        tables=[sheet(card.table, "All checks", folded=True)],
    )
