"""spicestat ladder, card, power, reliability, compare: questions that take many fits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spicestat.cli.console import reporting, show, shown_progress
from spicestat.cli.given import as_effects, as_fits, as_kinds, as_named, as_settings
from spicestat.cli.options import Covariates, Fit, Level, Quiet, Seed, Settings, TableFile, TableOrFigure
from spicestat.cli.program import app
from spicestat.cli.results import check_result, print_or_write, write_result

__all__ = ["card", "compare", "ladder", "power", "reliability"]


@app.command(epilog="Example: `spicestat ladder fit/ --rung shares --rung equations --out ladder.csv`")
def ladder(
    source: Fit,
    rung: Annotated[
        list[str] | None,
        typer.Option(help="shares, lags, mixed_logit, equations, network or gru; may be repeated. Default: all."),
    ] = None,
    over: Annotated[str, typer.Option(help="What is left out: 'blocks' or 'people'.")] = "blocks",
    folds: Annotated[int, typer.Option(help="Number of folds, each with a fit of its own.")] = 3,
    members: Annotated[int, typer.Option(help="GRUs to average, 1 to 3.")] = 1,
    seed: Seed = 0,
    out: TableOrFigure = None,
    quiet: Quiet = False,
) -> None:
    """Predict choices that were left out by the fit's equations, and by simpler models."""
    with reporting():
        from spicestat.fit.ladder import spice_ladder
        from spicestat.fit.loading import load_fit

        check_result(out)
        with shown_progress(quiet) as progress:
            found = spice_ladder(
                load_fit(source),
                rung,
                over=over,  # type: ignore[arg-type]  # options are text
                folds=folds,
                members=members,
                seed=seed,
                progress=progress,
            )
        show(found.table, found.title)
        if found.verdict:
            typer.echo(found.verdict)
        write_result(found.table, found.plot, out)


@app.command(epilog="Example: `spicestat card fit/ --out card.csv`")
def card(
    source: Fit,
    n_simulations: Annotated[int, typer.Option(help="Simulated studies.")] = 5,
    seed: Seed = 0,
    out: TableFile = None,
    quiet: Quiet = False,
) -> None:
    """Check what a fit's coefficients can be relied on for: recovery, trade-offs, structures, predictions, scope."""
    with reporting():
        from spicestat.fit.loading import load_fit
        from spicestat.studies.card import spice_card

        check_result(out)
        with shown_progress(quiet) as progress:
            found = spice_card(load_fit(source), n_simulations=n_simulations, seed=seed, progress=progress)
        print_or_write(found.table, out)


@app.command(
    epilog="Example: `spicestat power fit/ x_value_choice:reward --effect 0.1 --n-participants 40 --n-participants 80 "
    "--n-trials 200 --out power.csv`"
)
def power(
    source: Fit,
    coefficient: Annotated[str, typer.Argument(help="MODULE:TERM, or MODULE where it has one term.")],
    effect: Annotated[
        list[str],
        typer.Option(help="Effect per unit of the covariate, or TERM=EFFECT as drug:x=0.1; may be repeated."),
    ],
    n_participants: Annotated[list[int], typer.Option(help="Participants; may be repeated.")],
    n_trials: Annotated[list[int], typer.Option(help="Trials per participant and occasion; may be repeated.")],
    formula: Annotated[str, typer.Option(help="Of the group model, as '~ drug + (1 | participant)'.")] = "~ x",
    covariate: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=KIND: continuous (standard normal), binary (two groups), within (0 and 1 on occasions), or a "
            "number of groups; KIND alone is of all. May be repeated. Default: continuous."
        ),
    ] = None,
    n_occasions: Annotated[int, typer.Option(help="Occasions of each participant.")] = 1,
    share: Annotated[
        list[str] | None,
        typer.Option(help="NAME=SHARE of the variance between occasions, sites or slopes, as occasion=0.3."),
    ] = None,
    n_blocks: Annotated[int, typer.Option(help="Blocks per participant and occasion.")] = 1,
    group: Annotated[
        Path | None, typer.Option(help="Folder of a group model that says how people differ; default: one of '~ 1'.")
    ] = None,
    n_simulations: Annotated[int, typer.Option(help="Studies per design.")] = 200,
    method: Annotated[str, typer.Option(help="Group method.")] = "hierarchical",
    settings: Settings = None,
    alpha: Annotated[float, typer.Option(help="Level of the test.")] = 0.05,
    seed: Seed = 0,
    n_jobs: Annotated[int, typer.Option(help="Processes; -1: one for each core.")] = 1,
    out: TableOrFigure = None,
) -> None:
    """Simulate studies from a fit, and count how often effects of covariates are found."""
    with reporting():
        from spicestat.fit.loading import load_fit
        from spicestat.group import load_group
        from spicestat.studies.power import spice_power

        check_result(out)
        found = spice_power(
            load_fit(source),
            coefficient,
            effect=as_effects(effect),
            n_participants=n_participants,
            n_trials=n_trials,
            formula=formula,
            covariates=as_kinds(covariate or ["continuous"]),
            n_occasions=n_occasions,
            shares=as_named("--share", share or []),
            n_blocks=n_blocks,
            group=None if group is None else load_group(group),
            n_simulations=n_simulations,
            method=method,
            alpha=alpha,
            seed=seed,
            n_jobs=n_jobs,
            **as_settings(settings or []),
        )
        show(found.table, f"Power for {coefficient} {formula}, method {method}, {n_simulations} studies")
        write_result(found.table, found.plot, out)


@app.command(epilog="Example: `spicestat reliability fit/ --method odd_even --unit trial --out reliability.csv`")
def reliability(
    source: Fit,
    method: Annotated[
        list[str] | None, typer.Option(help="odd_even, first_second or random; may be repeated. Default: all.")
    ] = None,
    unit: Annotated[str, typer.Option(help="What halves are made of: 'block' or 'trial'.")] = "block",
    sessions: Annotated[
        str | None, typer.Option(help="What a session is, for test-retest reliability: 'block' or 'experiment'.")
    ] = None,
    n_splits: Annotated[int, typer.Option(help="Random splits.")] = 10,
    conf_level: Level = 0.95,
    seed: Seed = 0,
    out: TableFile = None,
) -> None:
    """Estimate how reliable every coefficient is, by split halves and between sessions."""
    with reporting():
        from spicestat.fit.loading import load_fit
        from spicestat.studies.reliability import METHODS, spice_reliability

        check_result(out)
        found = spice_reliability(
            load_fit(source),
            method or METHODS,
            unit=unit,  # type: ignore[arg-type]  # options are text
            sessions=sessions,  # type: ignore[arg-type]
            n_splits=n_splits,
            conf_level=conf_level,
            seed=seed,
        )
        print_or_write(found, out)


@app.command(epilog="Example: `spicestat compare rw=fits/rescorla choice=fits/choice --out compare.csv`")
def compare(
    fits: Annotated[list[str], typer.Argument(help="Two or more fits of the same trials, as FOLDER or NAME=FOLDER.")],
    criterion: Annotated[str, typer.Option(help="'ibic', 'bic', 'aic' or 'evidence'.")] = "ibic",
    formula: Annotated[
        str | None, typer.Option(help='Whether people use other models, such as "~ diagnosis": the table is of that.')
    ] = None,
    covariates: Covariates = None,
    conf_level: Level = 0.95,
    prior: Annotated[float, typer.Option(help="Dirichlet counts of each model.")] = 1.0,
    out: TableFile = None,
) -> None:
    """Compare models over people, as fixed and as random effects, and people by the models that they use."""
    with reporting():
        from spicestat.fit.loading import load_fit
        from spicestat.studies.compare import spice_compare

        check_result(out)
        found = spice_compare(
            {name: load_fit(folder) for name, folder in as_fits(fits).items()},
            criterion,  # type: ignore[arg-type]  # options are text
            formula=formula,
            data=covariates or None,
            conf_level=conf_level,
            prior=prior,
        )
        print_or_write(found.tidy("models" if formula is None else "membership"), out)
