"""The command line: spicestat fit, group, coefficients, ladder, demo."""

from __future__ import annotations

import ast
import os
import re
import shlex
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

import spicestat
from spicestat._files.atomic import save_or_rescue
from spicestat._files.sealed import check_target, kind_of
from spicestat._runtime.interrupts import kept_interrupts
from spicestat._runtime.progress import heartbeat
from spicestat.errors import ConfigError, InputError, SpicestatError, SpicestatWarning

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["app", "main"]

_BAD_INPUT, _FAILED, _INTERRUPTED = 2, 1, 130
_NO_MEMORY = ("allocate memory", "failed to map segment", "start new thread", "out of memory")
_STAGES = {
    "rnn": "Training the RNN",
    "equations": "Finding equations",
    "refit": "Estimating coefficients",
    "group": "Fitting the group model",
    "ladder": "Predicting left-out choices",
}

_MISSING_HELP = "Value that means 'missing', in all columns, or COLUMN=VALUE; may be repeated."

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Discover learning equations with RNNs, estimate them by likelihood, compare people.",
    epilog="Exit codes: 0 done, 1 failed, 2 bad input, 130 interrupted.",
)
_errors = Console(stderr=True, highlight=False)


@contextmanager
def _reporting() -> Iterator[None]:
    """Turn our errors and warnings into one line each on stderr, and errors into exit codes."""
    with kept_interrupts(), warnings.catch_warnings():
        warnings.simplefilter("always", SpicestatWarning)
        warnings.showwarning = lambda message, *_: _errors.print(
            f"warning: {_spoken(message)}", style="yellow", markup=False, soft_wrap=True
        )
        try:
            yield
            # a full disk behind `>` would be noticed after the exit code
            sys.stdout.flush()
        except BrokenPipeError:
            raise  # typer knows what `| head` is
        except SpicestatError as error:
            _say(_spoken(error))
            raise typer.Exit(_BAD_INPUT if isinstance(error, InputError) else _FAILED) from error
        except KeyboardInterrupt as error:
            _errors.print("interrupted; nothing was saved but the --checkpoint, if there is one")
            raise typer.Exit(_INTERRUPTED) from error
        except (MemoryError, OSError, ImportError, RuntimeError) as error:
            if isinstance(error, MemoryError) or any(sign in str(error) for sign in _NO_MEMORY):
                _say(f"there is not enough memory ({error}). Try: fit fewer participants at once")
            elif isinstance(error, OSError):
                _say(f"the output cannot be written: {error}. Try: check rights and free space")
                _drop_output()
            else:
                raise
            # the traceback holds what did not fit
            raise typer.Exit(_FAILED) from None


def _say(problem: str) -> None:
    _errors.print(f"error: {problem}", style="red", markup=False, soft_wrap=True)


def _drop_output() -> None:
    """Send what standard output still holds nowhere, as Python would fail with it once more at its end."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[str, int, int, str], None] | None]:
    """Show progress on stderr: bars in a terminal, elsewhere a line a minute."""
    if quiet:
        yield None
        return
    if not _errors.is_terminal:
        with heartbeat(_errors.print, "Reading") as tell:
            yield lambda stage, *news: tell(_STAGES.get(stage, stage), *news)
        return
    columns = (
        TextColumn("{task.description:<24}"),
        BarColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=_errors) as bars:
        tasks: dict[str, TaskID] = {}

        def report(stage: str, done: int, total: int, message: str) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(_STAGES.get(stage, stage), total=total, note="")
            bars.update(tasks[stage], completed=done, total=total, note=message)

        yield report


def _show(frame: pd.DataFrame, title: str) -> None:
    """Print a data frame as a table."""
    table = Table(box=None, pad_edge=False)
    for name in frame.columns:
        table.add_column(name, justify="right" if frame[name].dtype.kind == "f" else "left", no_wrap=True)
    for row in frame.itertuples(index=False):
        table.add_row(*(f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row))
    typer.echo(f"\n{title}")
    # a narrow terminal or a pipe wraps long lines, but must not cut numbers off
    Console(highlight=False, width=max(_errors.width, 160)).print(table)


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


@app.command(
    epilog="Example: `spicestat fit trials.csv --participant subject --block block --choice choice "
    "--reward reward --out fit/`"
)
def fit(
    trials: Annotated[
        list[Path],
        typer.Argument(
            help="Table with one row per trial (.csv, .tsv, .txt, .gz, .xlsx, .parquet), or one for each participant."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder to write the fit to.")] = Path("fit"),
    participant: Annotated[str, typer.Option(help="Column of participant ids.")] = "participant",
    choice: Annotated[str, typer.Option(help="Column of choices.")] = "choice",
    reward: Annotated[
        list[str] | None, typer.Option(help="Column of rewards; give one per action for counterfactual feedback.")
    ] = None,
    rt: Annotated[str | None, typer.Option(help="Column of response times (s), for model drift_diffusion.")] = None,
    block: Annotated[str | None, typer.Option(help="Column of blocks; values start anew in each.")] = None,
    trial: Annotated[str | None, typer.Option(help="Column that orders the trials; default: as in the file.")] = None,
    experiment: Annotated[str | None, typer.Option(help="Column of experiments.")] = None,
    occasion: Annotated[
        list[str] | None,
        typer.Option(help="Column of occasions, such as drug or session, with coefficients for each; may be repeated."),
    ] = None,
    stimulus: Annotated[
        list[str] | None, typer.Option(help="Column of what was shown, each of which is learned of; may be repeated.")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            help="Column of items on offer, repeated: COLUMN where choices are items, ACTION=COLUMN where they "
            "are positions."
        ),
    ] = None,
    attribute: Annotated[
        list[str] | None,
        typer.Option(help="NAME=COLUMN with a number of each option, repeated in the order of the actions."),
    ] = None,
    context: Annotated[
        list[str] | None,
        typer.Option(help="Column known before the choice, the same for all actions; may be repeated."),
    ] = None,
    forced: Annotated[str | None, typer.Option(help="Column that says on which trials the choice was forced.")] = None,
    gain: Annotated[str | None, typer.Option(help="Column of gains, in place of rewards.")] = None,
    loss: Annotated[str | None, typer.Option(help="Column of losses, in place of rewards.")] = None,
    foregone: Annotated[
        str | None, typer.Option(help="Column with the outcome of the action not chosen, of two.")
    ] = None,
    state2: Annotated[
        str | None, typer.Option(help="Column of the state that a choice led to, in two-step tasks.")
    ] = None,
    choice2: Annotated[str | None, typer.Option(help="Column of the choice made there.")] = None,
    no_reward: Annotated[bool, typer.Option("--no-reward", help="The task has no outcomes.")] = False,
    people: Annotated[
        list[Path] | None,
        typer.Option(help="Table of covariates, one row per participant (or occasion, or site); may be repeated."),
    ] = None,
    missing: Annotated[list[str] | None, typer.Option(help=_MISSING_HELP)] = None,
    model: Annotated[
        str, typer.Option(help="'history': states of the past, without a network; or a precoded model, as 'choice'.")
    ] = "history",
    structure: Annotated[str, typer.Option(help="One structure per 'population' or per 'participant'.")] = "population",
    criterion: Annotated[
        str | None,
        typer.Option(
            help="What decides between structures: 'aic', 'bic', 'evidence' or 'cv'. "
            "Default: 'aic' for the population, 'evidence' for participants."
        ),
    ] = None,
    scale_rewards: Annotated[bool, typer.Option(help="Scale rewards to 0-1 over all trials.")] = False,
    epochs: Annotated[int, typer.Option(help="Training epochs.")] = 300,
    seed: Annotated[int, typer.Option(help="Same seed, same numbers.")] = 0,
    checkpoint: Annotated[
        str | None, typer.Option(help="Folder for the network's training; the same command goes on from there.")
    ] = None,
    quiet: Annotated[bool, typer.Option(help="No progress bars.")] = False,
) -> None:
    """Find the equations behind people's choices, and estimate everybody's coefficients."""
    with _reporting():
        from spicestat.fit.api import spice_fit

        # now, and not after minutes of fitting
        check_target(out, "fit")
        kept_in = _folder_of(checkpoint)
        _check_apart(kept_in, out)
        if no_reward and reward:
            raise ConfigError("--no-reward and --reward exclude each other", got=reward, do="leave one of them out")
        rewards = None if no_reward else reward or ["reward"]
        with _progress(quiet) as progress:
            fitted = spice_fit(  # type: ignore[call-overload, misc]  # options are text
                trials[0] if len(trials) == 1 else trials,
                participant=participant,
                choice=choice,
                reward=rewards[0] if rewards and len(rewards) == 1 else rewards,
                rt=rt,
                block=block,
                trial=trial,
                experiment=experiment,
                occasion=occasion,
                stimulus=stimulus or None,
                options=_options(option or []),
                attributes=_attributes(attribute or []),
                context=context or None,
                forced=forced,
                gain=gain,
                loss=loss,
                foregone=foregone,
                state2=state2,
                choice2=choice2,
                people=people or None,
                missing=_missing(missing or []),
                model=model,
                structure=structure,
                criterion=criterion,
                reward_scaling="minmax" if scale_rewards else None,
                epochs=epochs,
                seed=seed,
                checkpoint=kept_in,
                progress=progress,
            )
        typer.echo(str(fitted))
        save_or_rescue(fitted.save, out)
        typer.echo(f"saved to {out}")


def _folder_of(given: str | None) -> Path | None:
    """Return the folder of an option; an empty text, as of a variable that is not set, is a mistake."""
    if given is not None and not given.strip():
        raise ConfigError("--checkpoint is empty", do="name a folder, or leave it out")
    return None if given is None else Path(given)


def _check_apart(checkpoint: Path | None, out: Path) -> None:
    """Refuse a checkpoint in the folder of the fit, where it would be taken for a part of it."""
    inner = [] if checkpoint is None else [checkpoint.resolve(), *checkpoint.resolve().parents]
    if out.resolve() in inner:
        raise ConfigError("the checkpoint is in the folder of the fit", got=checkpoint, do="name another --checkpoint")


def _group_source(path: Path, method: str | None) -> Any:
    """Return the fit where the method reads the choices, and else the path, which needs no torch."""
    from spicestat.group.methods.registry import find_method

    if kind_of(path) != "fit" or (method and not find_method(method).reads_choices):
        return path
    from spicestat.fit.api import load_fit

    return load_fit(path)


def _options(given: list[str]) -> list[str] | dict[str, str] | None:
    """Read columns of items on offer, or ``action=column`` pairs.

    Examples
    --------
    >>> _options(["card_left", "card_right"]), _options(["left=stim_left", "right=stim_right"])
    (['card_left', 'card_right'], {'left': 'stim_left', 'right': 'stim_right'})
    """
    pairs = [text.partition("=") for text in given]
    if any(sign for _, sign, _ in pairs) and not all(sign and name and column for name, sign, column in pairs):
        raise ConfigError(
            "`--option` cannot be read", got=given, allowed="COLUMN for each option, or ACTION=COLUMN for each of them"
        )
    return {name: column for name, sign, column in pairs if sign} or given or None


def _attributes(given: list[str]) -> dict[str, list[str]] | None:
    """Read ``name=column`` pairs, the columns of a name in the order of the actions.

    Examples
    --------
    >>> _attributes(["amount=amount_sooner", "amount=amount_later"])
    {'amount': ['amount_sooner', 'amount_later']}
    """
    found: dict[str, list[str]] = {}
    for text in given:
        name, _, column = text.partition("=")
        if not name or not column:
            raise ConfigError("`--attribute` cannot be read", got=given, allowed="NAME=COLUMN for each action")
        found.setdefault(name, []).append(column)
    return found or None


def _missing(given: list[str]) -> list[str] | dict[str, list[str]] | None:
    """Read values, or ``column=value`` pairs, of missing values; ``column=`` says that a column has none.

    Examples
    --------
    >>> _missing(["-99", "NR"]), _missing(["age=-99", "age=-98", "sex="])
    (['-99', 'NR'], {'age': ['-99', '-98'], 'sex': []})
    """
    pairs = [text.partition("=") for text in given]
    if not any(sign for _, sign, _ in pairs):
        return given or None
    if not all(sign and name for name, sign, _ in pairs):
        raise ConfigError(
            "`--missing` cannot be read", got=given, allowed="values for all columns, or COLUMN=VALUE for each of them"
        )
    columns: dict[str, list[str]] = {}
    for name, _, value in pairs:
        columns.setdefault(name, []).extend([value] if value else [])
    return columns


def _spoken(message: object) -> str:
    """Write the argument that a message recommends as it is written on the command line.

    Examples
    --------
    >>> _spoken("pass missing={'age': [-99, 'n.a.']}")
    'pass --missing age=-99 --missing age=n.a.'
    """

    def option(found: re.Match[str]) -> str:
        (name, values), *_ = ast.literal_eval(found.group(1)).items()
        return " ".join(f"--missing {shlex.quote(f'{name}={value}')}" for value in values or [""])

    return re.sub(r"missing=(\{'(?:[^'\\]|\\.)*': \[(?:'(?:[^'\\]|\\.)*'|[^'\]])*\]\})", option, str(message))


def _settings(given: list[str]) -> dict[str, Any]:
    """Read ``name=value`` pairs; a name that is repeated has a list of values, and ``name.key=value`` is a mapping's.

    Examples
    --------
    >>> _settings(["seed=3", "knapp_hartung=false", "links.beta=log"])
    {'seed': 3, 'knapp_hartung': False, 'links': {'beta': 'log'}}
    >>> _settings(["covariates_on=beta", "covariates_on=x_value_choice"])
    {'covariates_on': ['beta', 'x_value_choice']}
    """
    settings: dict[str, Any] = {}
    for text in given:
        # from the right: keys are names of modules, which may hold anything
        place, _, value = text.rpartition("=")
        name, dot, key = place.partition(".")
        before = settings.get(name)
        if not name or (dot and not key) or (before is not None and bool(dot) != isinstance(before, dict)):
            raise ConfigError(
                "`--set` cannot be read", got=given, allowed="name=value, or name.key=value for a mapping"
            )
        if dot:
            settings.setdefault(name, {})[key] = _value(value)
        elif before is None:
            settings[name] = _value(value)
        else:
            settings[name] = [*(before if isinstance(before, list) else [before]), _value(value)]
    return settings


def _value(text: str) -> Any:
    """Read a number, true or false, and everything else as text."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text


@app.command(epilog='Example: `spicestat group fit/ "~ diagnosis + age" --covariates people.csv --out table.csv`')
def group(
    coefficients: Annotated[Path, typer.Argument(help="Fit folder, or a CSV or Parquet coefficient table.")],
    formula: Annotated[
        str,
        typer.Argument(
            help='Right-hand side of the model: "~ diagnosis + age", "~ drug + (drug | participant) + (1 | site)".'
        ),
    ],
    covariates: Annotated[
        list[Path] | None,
        typer.Option(help="Table with one row per participant (or occasion, or site); may be repeated."),
    ] = None,
    participant: Annotated[
        str | None, typer.Option(help="Column of ids in the covariates; default: as in trials with occasions.")
    ] = None,
    missing: Annotated[list[str] | None, typer.Option(help=_MISSING_HELP)] = None,
    method: Annotated[
        str | None, typer.Option(help="Group method; default: hierarchical for a fit folder, meta for a table.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Setting of the method, such as n_permutations=999, or links.beta=log for one of a mapping; "
            "may be repeated.",
        ),
    ] = None,
    adjust: Annotated[str, typer.Option(help="BH, BY, holm, bonferroni, maxT or none.")] = "BH",
    conf_level: Annotated[float, typer.Option(help="Level of the intervals.")] = 0.95,
    out: Annotated[
        Path | None, typer.Option(help="Also write all coefficients to this .csv or .parquet file, or all to a folder.")
    ] = None,
    quiet: Annotated[bool, typer.Option(help="No progress bars.")] = False,
) -> None:
    """Relate coefficients to covariates; reads a fit or any table of coefficients."""
    with _reporting():
        from spicestat._files.tables import check_table_target, names_file
        from spicestat.group import spice_group

        if out is not None and names_file(out):
            check_table_target(out)
        elif out is not None:
            check_target(out, "group")
        with _progress(quiet) as progress:
            result = spice_group(
                _group_source(coefficients, method),
                formula,
                data=covariates or None,
                participant=participant,
                missing=_missing(missing or []),
                method=method,
                adjust=adjust,
                conf_level=conf_level,
                progress=progress,
                **_settings(settings or []),
            )
        _show(result.tidy().drop(columns=["effect", "group", "level", "conf_level"]), f"{formula} ({result.method})")
        for message in result.messages:
            typer.echo(message)
        if out is not None:
            save_or_rescue(result.save, out)


@app.command(epilog="Example: `spicestat coefficients fit/ --out table.csv`")
def coefficients(
    source: Annotated[Path, typer.Argument(help="Fit folder.")],
    out: Annotated[Path | None, typer.Option(help="File to write (.csv, .tsv, .parquet); default: print CSV.")] = None,
) -> None:
    """Write the tidy table of every participant's coefficients."""
    with _reporting():
        from spicestat._files.tables import csv_text, write_table
        from spicestat.coefficients import read_coefficients

        table = read_coefficients(source).tidy()
        if out is None:
            typer.echo(csv_text(table), nl=False)
        else:
            write_table(table, out)
            typer.echo(f"{len(table)} rows written to {out}")


@app.command(epilog="Example: `spicestat ladder fit/ --rung shares --rung equations --out ladder.csv`")
def ladder(
    source: Annotated[Path, typer.Argument(help="Fit folder.")],
    rung: Annotated[
        list[str] | None,
        typer.Option(help="shares, lags, mixed_logit, equations, network or gru; may be repeated. Default: all."),
    ] = None,
    over: Annotated[str, typer.Option(help="What is left out: 'blocks' or 'people'.")] = "blocks",
    folds: Annotated[int, typer.Option(help="Number of folds, each with a fit of its own.")] = 3,
    members: Annotated[int, typer.Option(help="GRUs to average, 1 to 3.")] = 1,
    seed: Annotated[int, typer.Option(help="Same seed, same numbers.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Also write the table to this file (.csv, .tsv, .parquet).")] = None,
    quiet: Annotated[bool, typer.Option(help="No progress bars.")] = False,
) -> None:
    """Predict choices that were left out by the fit's equations, and by simpler models."""
    with _reporting():
        from spicestat._files.tables import check_table_target, write_table
        from spicestat.fit.api import load_fit
        from spicestat.fit.ladder import spice_ladder

        if out is not None:
            check_table_target(out)
        with _progress(quiet) as progress:
            found = spice_ladder(
                load_fit(source),
                rung,
                over=over,  # type: ignore[arg-type]  # options are text
                folds=folds,
                members=members,
                seed=seed,
                progress=progress,
            )
        _show(found.table, found.title)
        if found.verdict:
            typer.echo(found.verdict)
        if out is not None:
            write_table(found.table, out)
            typer.echo(f"{len(found.table)} rows written to {out}")


@app.command(epilog='Example: `spicestat report fit/ --formula "~ diagnosis + age" --out report.html`')
def report(
    source: Annotated[Path, typer.Argument(help="Fit folder.")],
    formula: Annotated[
        str | None, typer.Option(help="Also a group model, such as '~ age'; of the fit's own covariates.")
    ] = None,
    covariates: Annotated[
        list[Path] | None, typer.Option(help="Table of covariates for the formula; may be repeated.")
    ] = None,
    method: Annotated[str | None, typer.Option(help="Group method; default: as of `spicestat group`.")] = None,
    ladder: Annotated[
        bool, typer.Option("--ladder", help="Also predict left-out choices, which takes a few fits.")
    ] = False,
    title: Annotated[str, typer.Option(help="Heading of the page.")] = "spicestat report",
    out: Annotated[Path, typer.Option(help="File to write, which ends in .html.")] = Path("report.html"),
    quiet: Annotated[bool, typer.Option(help="No progress bars.")] = False,
) -> None:
    """Write one HTML page about a fit: data, predictions, equations, people, effects, methods."""
    with _reporting():
        from spicestat.fit.api import load_fit
        from spicestat.fit.ladder import spice_ladder
        from spicestat.group import spice_group
        from spicestat.report.report import check_page, spice_report

        check_page(out)
        fitted, group, rungs = load_fit(source), None, None
        with _progress(quiet) as progress:
            if formula is not None:
                group = spice_group(fitted, formula, data=covariates or None, method=method, progress=progress)
            if ladder:
                rungs = spice_ladder(fitted, progress=progress)
        typer.echo(f"written to {spice_report(fitted, group, out, ladder=rungs, title=title)}")


@app.command(epilog="Example: `spicestat demo --out demo/`")
def demo(
    out: Annotated[Path, typer.Option(help="Folder for tables and report.")] = Path("demo"),
    participants: Annotated[int, typer.Option(help="Number of simulated participants.")] = 40,
    trials: Annotated[int, typer.Option(help="Trials per participant, a multiple of 4.")] = 200,
    seed: Annotated[int, typer.Option(help="Same seed, same numbers.")] = 1,
    quiet: Annotated[bool, typer.Option(help="No progress bars.")] = False,
) -> None:
    """Simulate a cohort with a known effect, fit it, and write tables and an HTML report."""
    with _reporting():
        from spicestat.report.demo import run_demo

        with _progress(quiet) as progress:
            done = run_demo(out, n_participants=participants, n_trials=trials, seed=seed, progress=progress)
        typer.echo(str(done.fit))
        _show(done.scores, "Negative log-likelihood per choice (oracle: the true parameters)")
        _show(done.group.tidy().drop(columns=["effect", "group", "level", "conf_level"]), done.group.formula)
        _show(done.recovery, "Effects on the learning rate: truth and estimate")
        typer.echo(f"\nreport: {done.report}")


def main() -> None:
    """Run the command line."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    except MemoryError:
        # not even enough to format the message
        os.write(2, b"error: there is not enough memory. Try: fit fewer participants at once\n")
        sys.exit(_FAILED)
