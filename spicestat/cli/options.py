"""Arguments and options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["Covariates", "Fit", "Level", "Missing", "Quiet", "Seed", "Settings", "TableFile", "TableOrFigure"]

Fit = Annotated[Path, typer.Argument(help="Fit folder.")]
Covariates = Annotated[
    list[Path] | None,
    typer.Option(help="Table with one row per participant (or occasion, or site); may be repeated."),
]
Level = Annotated[float, typer.Option(help="Level of the intervals.")]
Missing = Annotated[
    list[str] | None,
    typer.Option(help="Value that means 'missing', in all columns, or COLUMN=VALUE; may be repeated."),
]
Quiet = Annotated[bool, typer.Option(help="No progress bars.")]
Seed = Annotated[int, typer.Option(help="Same seed, same numbers.")]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Setting of the group method, such as n_permutations=999, or links.beta=log for one of a mapping; "
        "may be repeated.",
    ),
]
TableFile = Annotated[
    Path | None, typer.Option("--out", help="File to write (.csv, .tsv, .parquet); default: print CSV.")
]
TableOrFigure = Annotated[
    Path | None,
    typer.Option("--out", help="Also write the table (.csv, .tsv, .parquet) or a figure (.png, .svg, .pdf) here."),
]
