"""The check of the R package fails on every finding, however R CMD check lays out its log."""

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "r-check-findings.sh"
NOTE = "* checking for future file timestamps ... NOTE\nunable to verify current time\n"
GOOD = "* checking top-level files ... OK\n"


def check(tmp_path, log):
    path = tmp_path / "00check.log"
    path.write_text(log)
    return subprocess.run([SCRIPT, path], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "log",
    [
        f"{GOOD}* DONE\nStatus: OK\n",
        f"{GOOD}{NOTE}* DONE\nStatus: 1 NOTE\n",
        f"{NOTE}* checking CRAN incoming feasibility ... [3s] NOTE\n* DONE\nStatus: 2 NOTEs\n",
    ],
)
def test_a_log_without_findings_passes(tmp_path, log):
    assert check(tmp_path, log).returncode == 0


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ("* checking for sizes of PDF files ...\n WARNING\n qpdf is needed\nStatus: 1 WARNING\n", "1 WARNING"),
        (f"{NOTE}* checking data ... WARNING\nStatus: 1 WARNING, 1 NOTE\n", "checking data"),
        (f"{NOTE}* checking tests ...\n ERROR\nStatus: 1 ERROR, 1 NOTE\n", "1 ERROR"),
        (f"{NOTE}* checking Rd files ... NOTE\nStatus: 2 NOTEs\n", "checking Rd files"),
        ("* checking Rd files ...\n NOTE\nStatus: 1 NOTE\n", "1 NOTE"),
        (f"{GOOD}Status: 10 WARNINGs\n", "10 WARNINGs"),
        (f"{GOOD}Status: 1 NEWS\n", "findings"),
        (GOOD, "did not finish"),
        ("", "did not finish"),
    ],
)
def test_every_finding_fails(tmp_path, log, said):
    done = check(tmp_path, log)
    assert done.returncode == 1
    assert said in done.stderr


def test_a_missing_log_fails(tmp_path):
    done = subprocess.run([SCRIPT, tmp_path / "absent"], capture_output=True, text=True, check=False)
    assert (done.returncode, "did not finish" in done.stderr) == (1, True)
