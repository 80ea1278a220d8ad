"""spicestat group: coefficients and covariates."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from spicestat._files.atomic import save_or_rescue
from spicestat._files.sealed import check_target, kind_of
from spicestat.cli.console import reporting, show, shown_progress
from spicestat.cli.given import as_missing_values, as_settings
from spicestat.cli.options import Covariates, Level, Missing, Quiet, Settings
from spicestat.cli.program import app

__all__ = ["group"]


@app.command(epilog='Example: `spicestat group fit/ "~ diagnosis + age" --covariates people.csv --out table.csv`')
def group(
    coefficients: Annotated[Path, typer.Argument(help="Fit folder, or a CSV or Parquet coefficient table.")],
    formula: Annotated[
        str,
        typer.Argument(
            help='Right-hand side of the model: "~ diagnosis + age", "~ drug + (drug | participant) + (1 | site)".'
        ),
    ],
    covariates: Covariates = None,
    participant: Annotated[
        str | None, typer.Option(help="Column of ids in the covariates; default: as in trials with occasions.")
    ] = None,
    missing: Missing = None,
    method: Annotated[
        str | None, typer.Option(help="Group method; default: hierarchical for a fit folder, meta for a table.")
    ] = None,
    settings: Settings = None,
    adjust: Annotated[str, typer.Option(help="BH, BY, holm, bonferroni, maxT or none.")] = "BH",
    conf_level: Level = 0.95,
    imputations: Annotated[
        int | None, typer.Option(help="Fill in missing covariates of people so many times, such as 20, and pool.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Also write all coefficients to this .csv or .parquet file, or all to a folder.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Relate coefficients to covariates; reads a fit or any table of coefficients."""
    with reporting():
        from spicestat._files.tables import check_table_target, names_file
        from spicestat.group import spice_group

        if out is not None and names_file(out):
            check_table_target(out)
        elif out is not None:
            check_target(out, "group")
        with shown_progress(quiet) as progress:
            result = spice_group(
                _group_source(coefficients, method),
                formula,
                data=covariates or None,
                participant=participant,
                missing=as_missing_values(missing or []),
                method=method,
                adjust=adjust,
                conf_level=conf_level,
                imputations=imputations,
                progress=progress,
                **as_settings(settings or []),
            )
        show(result.tidy().drop(columns=["effect", "group", "level", "conf_level"]), f"{formula} ({result.method})")
        for message in result.messages:
            typer.echo(message)
        if out is not None:
            save_or_rescue(result.save, out)


def _group_source(path: Path, method: str | None) -> Any:
    """Return the fit where the method reads the choices, and else the path, which needs no torch."""
    from spicestat.group.methods.registry import find_method

    if kind_of(path) != "fit" or (method and not find_method(method).reads_choices):
        return path
    from spicestat.fit.loading import load_fit

    return load_fit(path)
