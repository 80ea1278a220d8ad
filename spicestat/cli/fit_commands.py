"""spicestat fit, coefficients, predict, simulate: from trials to a fit, and what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spicestat._files.atomic import save_or_rescue
from spicestat._files.sealed import check_target
from spicestat.cli.console import reporting, shown_progress
from spicestat.cli.given import as_attributes, as_missing_values, as_model, as_options, as_settings
from spicestat.cli.options import Fit, Missing, Quiet, Seed, TableFile
from spicestat.cli.program import app
from spicestat.cli.results import check_result, print_or_write
from spicestat.errors import ConfigError

__all__ = ["coefficients", "fit", "predict", "simulate"]


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
    missing: Missing = None,
    model: Annotated[
        str,
        typer.Option(
            help="'history': states of the past, without a network; a precoded model, as 'choice'; a task's, as "
            "'pst'; or a .json file that declares one."
        ),
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
    seed: Seed = 0,
    checkpoint: Annotated[
        str | None, typer.Option(help="Folder for the network's training; the same command goes on from there.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Find the equations behind people's choices, and estimate everybody's coefficients."""
    with reporting():
        from spicestat.fit.api import spice_fit

        # now, and not after minutes of fitting
        check_target(out, "fit")
        kept_in = _folder(checkpoint)
        _check_apart(kept_in, out)
        if no_reward and reward:
            raise ConfigError("--no-reward and --reward exclude each other", got=reward, do="leave one of them out")
        rewards = None if no_reward else reward or ["reward"]
        with shown_progress(quiet) as progress:
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
                options=as_options(option or []),
                attributes=as_attributes(attribute or []),
                context=context or None,
                forced=forced,
                gain=gain,
                loss=loss,
                foregone=foregone,
                state2=state2,
                choice2=choice2,
                people=people or None,
                missing=as_missing_values(missing or []),
                model=as_model(model),
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


def _folder(given: str | None) -> Path | None:
    """Return the folder of an option; an empty text, as of a variable that is not set, is a mistake."""
    if given is not None and not given.strip():
        raise ConfigError("--checkpoint is empty", do="name a folder, or leave it out")
    return None if given is None else Path(given)


def _check_apart(checkpoint: Path | None, out: Path) -> None:
    """Refuse a checkpoint in the folder of the fit, where it would be taken for a part of it."""
    inner = [] if checkpoint is None else [checkpoint.resolve(), *checkpoint.resolve().parents]
    if out.resolve() in inner:
        raise ConfigError("the checkpoint is in the folder of the fit", got=checkpoint, do="name another --checkpoint")


@app.command(epilog="Example: `spicestat coefficients fit/ --out table.csv`")
def coefficients(source: Fit, out: TableFile = None) -> None:
    """Write the tidy table of every participant's coefficients."""
    with reporting():
        from spicestat.coefficients import read_coefficients

        print_or_write(read_coefficients(source).tidy(), out)


@app.command(epilog="Example: `spicestat predict fit/ later.csv --out predictions.parquet`")
def predict(
    source: Fit,
    trials: Annotated[
        list[Path] | None,
        typer.Argument(help="Other trials, with the columns of the fit's own. Default: those of the fit."),
    ] = None,
    by: Annotated[
        str, typer.Option(help="What predicts: 'equations', with people's own estimates 'ml', or 'rnn'.")
    ] = "equations",
    unseen: Annotated[
        str, typer.Option(help="Participants whom the fit does not know: 'error', 'typical' or 'population'.")
    ] = "error",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Column that is called otherwise in these trials: participant=id; may be repeated."),
    ] = None,
    missing: Missing = None,
    out: TableFile = None,
) -> None:
    """Write the probability of every action on every trial."""
    with reporting():
        from spicestat.fit.loading import load_fit
        from spicestat.fit.predict import predict_choices

        check_result(out)
        columns = as_settings(settings or [], str)
        if missing:
            columns["missing"] = as_missing_values(missing)
        found = predict_choices(
            load_fit(source),
            trials[0] if trials and len(trials) == 1 else trials or None,
            by=by,  # type: ignore[arg-type]  # options are text
            unseen=unseen,  # type: ignore[arg-type]
            **columns,
        )
        print_or_write(found, out)


@app.command(epilog="Example: `spicestat simulate fit/ --n-trials 200 --seed 1 --out simulated.csv`")
def simulate(
    source: Fit,
    n_simulations: Annotated[int, typer.Option(help="Simulations of all participants.")] = 1,
    n_trials: Annotated[int | None, typer.Option(help="Trials per block. Default: as in most of the fit's.")] = None,
    n_blocks: Annotated[int | None, typer.Option(help="Blocks. Default: as most participants of the fit have.")] = None,
    seed: Seed = 0,
    out: TableFile = None,
) -> None:
    """Let the fit's participants play a bandit with drifting rewards, or their own trials if these show something."""
    with reporting():
        from spicestat.fit.loading import load_fit
        from spicestat.fit.play import simulate_fit

        check_result(out)
        fitted = load_fit(source)
        print_or_write(
            simulate_fit(fitted, n_simulations=n_simulations, seed=seed, n_trials=n_trials, n_blocks=n_blocks), out
        )
