import pytest
from typer.testing import CliRunner

from spicestat.cli import app
from spicestat.simulate import simulate_cohort


@pytest.fixture(scope="package")
def folder(tmp_path_factory):
    """Trials, people, and the fit that the command line made of them."""
    path = tmp_path_factory.mktemp("cli")
    cohort = simulate_cohort(10, 80, n_blocks=4, seed=3)
    cohort.trials.rename(columns={"participant": "subject"}).to_csv(path / "trials.csv.gz", index=False)
    cohort.people.to_csv(path / "people.csv", index=False)
    done = CliRunner().invoke(
        app,
        ["fit", str(path / "trials.csv.gz"), "--participant", "subject", "--block", "block", "--trial", "trial",
         "--model", "choice", "--epochs", "30", "--out", str(path / "fit"), "--quiet"],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    return path
