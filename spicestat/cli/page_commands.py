"""spicestat report, plot, demo: pages and figures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spicestat._files.sealed import kind_of
from spicestat.cli.console import reporting, show, shown_progress
from spicestat.cli.options import Covariates, Fit, Quiet, Seed
from spicestat.cli.program import app
from spicestat.cli.results import check_figure, write_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["demo", "plot", "report"]


@app.command(epilog='Example: `spicestat report fit/ --formula "~ diagnosis + age" --out report.html`')
def report(
    source: Fit,
    formula: Annotated[
        str | None,
        typer.Option(
            help="Also a group model, such as '~ age'. Levels of a factor are compared with the first one, or with "
            "that of '~ C(group, contr.treatment(\"control\"))'."
        ),
    ] = None,
    covariates: Covariates = None,
    method: Annotated[str | None, typer.Option(help="Group method; default: as of `spicestat group`.")] = None,
    ladder: Annotated[
        bool, typer.Option("--ladder", help="Also predict left-out choices, which takes a few fits.")
    ] = False,
    card: Annotated[
        bool, typer.Option("--card", help="Also check what the coefficients can be relied on for, by simulation.")
    ] = False,
    title: Annotated[str, typer.Option(help="Heading of the page.")] = "spicestat report",
    out: Annotated[Path, typer.Option(help="File to write, which ends in .html.")] = Path("report.html"),
    quiet: Quiet = False,
) -> None:
    """Write one HTML page about a fit: data, predictions, equations, people, effects, methods."""
    with reporting():
        from spicestat.fit.ladder import spice_ladder
        from spicestat.fit.loading import load_fit
        from spicestat.group import spice_group
        from spicestat.report.report import check_page, spice_report
        from spicestat.studies.card import spice_card

        check_page(out)
        fitted, group, rungs, checks = load_fit(source), None, None, None
        with shown_progress(quiet) as progress:
            if formula is not None:
                group = spice_group(fitted, formula, data=covariates or None, method=method, progress=progress)
            if ladder:
                rungs = spice_ladder(fitted, progress=progress)
            if card:
                checks = spice_card(fitted, progress=progress)
            written = spice_report(fitted, group, out, ladder=rungs, card=checks, title=title, progress=progress)
        typer.echo(f"written to {written}")


@app.command(epilog="Example: `spicestat plot fit/ --kind people --out people.png`")
def plot(
    source: Annotated[Path, typer.Argument(help="Folder of a fit, or of a group model.")],
    out: Annotated[Path, typer.Option(help="File to write (.png, .svg, .pdf).")],
    kind: Annotated[
        str | None,
        typer.Option(
            help="Of a fit: 'people', 'training' or, without a network, 'kernels'; of a group model: 'forest', "
            "'caterpillar' or 'covariate'. Default: the first."
        ),
    ] = None,
) -> None:
    """Draw a fit or a group model."""
    with reporting():
        check_figure(out)
        write_figure(_drawn(source, kind), out)


def _drawn(source: Path, kind: str | None) -> Figure:
    if kind_of(source) == "group":
        from spicestat.group import load_group

        return load_group(source).plot(kind or "forest")  # type: ignore[arg-type]  # options are text
    from spicestat.fit.loading import load_fit
    from spicestat.report.figures import fit_figure

    return fit_figure(load_fit(source), kind or "people")


@app.command(epilog="Example: `spicestat demo --out demo/`")
def demo(
    out: Annotated[Path, typer.Option(help="Folder for tables and report.")] = Path("demo"),
    participants: Annotated[int, typer.Option(help="Number of simulated participants.")] = 40,
    trials: Annotated[int, typer.Option(help="Trials per participant, a multiple of 10.")] = 200,
    seed: Seed = 1,
    quiet: Quiet = False,
) -> None:
    """Simulate a cohort with a known effect, fit it, and write tables and an HTML report."""
    with reporting():
        from spicestat.report.demo import run_demo

        with shown_progress(quiet) as progress:
            done = run_demo(out, n_participants=participants, n_trials=trials, seed=seed, progress=progress)
        typer.echo(str(done.fit))
        show(done.scores, "Negative log-likelihood per choice (oracle: the true parameters)")
        show(done.group.tidy().drop(columns=["effect", "group", "level", "conf_level"]), done.group.formula)
        show(done.recovery, "Effects on the learning rate: truth and estimate")
        typer.echo(f"\nreport: {done.report}")
