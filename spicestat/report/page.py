"""HTML report of a fit and its group model: one file, no scripts, nothing loaded from elsewhere."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import pandas as pd
from jinja2 import Environment
from markupsafe import Markup
from matplotlib.figure import Figure

import spicestat
from spicestat._files.atomic import write_file
from spicestat.fit.api import SpiceFit
from spicestat.group.result import GroupResult

__all__ = ["write_report"]

_SHOWN_EQUATIONS = 3


@dataclass(frozen=True)
class _Section:
    title: str
    text: str = ""
    lines: Sequence[str] = ()
    table: Markup | None = None
    image: str = ""


def write_report(
    fit: SpiceFit,
    group: GroupResult,
    path: str | Path,
    *,
    title: str = "spicestat report",
    scores: pd.DataFrame | None = None,
) -> Path:
    """Write an HTML report.

    Parameters
    ----------
    fit : SpiceFit
        The fit.
    group : GroupResult
        A group model of its coefficients.
    path : path
        The ``.html`` file to write.
    title : str
        Heading.
    scores : DataFrame, optional
        Shown instead of ``fit.scores``, for example with an oracle's row.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    StorageError
        It cannot be written.
    """
    glance = fit.glance().iloc[0]
    summary = (
        f"{glance['n_participants']} participants, {glance['nobs']} choices, model {glance['model']}; "
        f"{glance['n_excluded']} participants excluded."
    )
    template = Environment(autoescape=True).from_string(
        files("spicestat.report").joinpath("templates/report.html").read_text(encoding="utf-8")
    )
    html = template.render(
        title=title,
        summary=summary,
        warnings=[*_left_out(fit, group), *group.messages],
        sections=_sections(fit, group, fit.scores if scores is None else scores),
        version=spicestat.__version__,
    )
    write_file(path, html.encode())
    return Path(path)


def _left_out(fit: SpiceFit, group: GroupResult) -> list[str]:
    """Say what has no identified estimate, and what therefore does not enter the group model."""
    share = fit.coefficients.share_unidentified
    if not share:
        return []
    n_people = round(share * fit.trials.n_participants)
    n_excluded = int(group.glance()["n_excluded"].sum())
    return [
        f"{n_people} of {fit.trials.n_participants} participants have no identified estimate; "
        f"{n_excluded} of their coefficients do not enter the group model."
    ]


def _sections(fit: SpiceFit, group: GroupResult, scores: pd.DataFrame) -> list[_Section]:
    equations = fit.equations_frame()
    shown = fit.trials.participants[:_SHOWN_EQUATIONS]
    lines = [
        f"{label}:  {text}" for label in shown for text in equations.loc[equations["participant"] == label, "equation"]
    ]
    return [
        _Section(
            "How well the choices are predicted",
            "Mean negative log-likelihood per choice in nats (smaller is better). The refit has one set of "
            "coefficients per participant, fitted to the same choices, so it can undercut the truth.",
            table=_html(scores),
        ),
        _Section("Equations", f"The first {len(shown)} of {fit.trials.n_participants} participants.", lines=lines),
        _Section("Coefficients of every participant", image=_png(group.plot_caterpillar("observed"))),
        _Section(
            "Group model",
            f"{group.formula}, method {group.method}; p-values adjusted by {group.adjust} within each covariate.",
            table=_html(group.tidy().drop(columns=["effect", "group", "level", "conf_level"])),
        ),
        *_forest(group),
    ]


def _forest(group: GroupResult) -> list[_Section]:
    if set(group.tidy()["term"]) <= {"(Intercept)"}:
        return []
    return [_Section("Effects of the covariates", image=_png(group.plot("forest")))]


def _html(frame: pd.DataFrame) -> Markup:
    # pandas escapes the cells itself
    return Markup(frame.to_html(index=False, border=0, na_rep="", float_format=lambda value: f"{value:.4g}"))


def _png(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
