"""The program: its commands register here."""

from __future__ import annotations

from typing import Annotated

import typer

import spicestat

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Discover learning equations with RNNs, estimate them by likelihood, compare people.",
    epilog="Exit codes: 0 done, 1 failed, 2 bad input, 130 interrupted.",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(spicestat.__version__)
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass
