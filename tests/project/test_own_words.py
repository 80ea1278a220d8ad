"""No file of the project holds sentences or code of the two documents of SPICE's; names and signatures are facts."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SEEDS = ROOT.parent / "shared" / "seeds"
DOCUMENTS = [path.read_text(encoding="utf-8") for path in sorted(SEEDS.glob("*.txt"))]
FENCED = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
N_WORDS, N_LINES = 8, 3

pytestmark = pytest.mark.skipif(not DOCUMENTS, reason=f"SPICE's documents are not in {SEEDS}")


def passages(text):
    """All runs of eight words, line breaks or not."""
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[start : start + N_WORDS]) for start in range(len(words) - N_WORDS + 1)}


def stretches(code):
    """All runs of three lines that say something."""
    lines = [line.strip() for line in code.splitlines() if len(re.findall(r"\w", line)) > 9]
    return {tuple(lines[start : start + N_LINES]) for start in range(len(lines) - N_LINES + 1)}


def prose(document):
    """Sentences of a document: its lines of more than seven words outside of code."""
    lines = FENCED.sub("", document).splitlines()
    return [line for line in lines if len(line.split()) >= N_WORDS and "=" not in line and "import" not in line]


def comments(document):
    code = "\n".join(FENCED.findall(document))
    return [
        *re.findall(r"#\s*(.*)", code),
        *(" ".join(text.split()) for text in re.findall(r'"""(.*?)"""', code, re.S)),
    ]


THEIRS = {
    passage for document in DOCUMENTS for line in [*prose(document), *comments(document)] for passage in passages(line)
}
THEIR_CODE = {stretch for document in DOCUMENTS for block in FENCED.findall(document) for stretch in stretches(block)}


def texts():
    """Text files of the checkout."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    kinds = {".py", ".R", ".md", ".Rmd", ".Rd", ".json", ".toml", ".sh", ".html", ""}
    return [path for name in listed.stdout.splitlines() if (path := ROOT / name).suffix in kinds and path.is_file()]


def test_the_documents_were_understood():
    assert len(THEIRS) > 500
    assert len(THEIR_CODE) > 80


def test_nothing_is_copied():
    copied = {}
    for path in texts():
        text = path.read_text(encoding="utf-8", errors="replace")
        found = [" ".join(one) for one in passages(text) & THEIRS] + [
            " / ".join(one) for one in stretches(text) & THEIR_CODE
        ]
        if found:
            copied[str(path.relative_to(ROOT))] = found[:3]
    assert copied == {}
