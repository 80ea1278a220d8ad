"""The seed tutorial's Python code, as it stands in the document; only the random seed can be exchanged."""

import re
from pathlib import Path

TUTORIAL = Path(__file__).parents[3] / "shared" / "seeds" / "tutorial_4_individual_differences.txt"
DATA_READY = "dataset = DatasetRNN(dataset_xs, dataset_ys)"
"""The line of the tutorial after which its data exist."""

_FENCE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
_SEED = re.compile(r"\b((?:np\.random\.seed|torch\.manual_seed)\()42\)")


def code_blocks(document: str, seed: int | None = None) -> list[str]:
    """Return the document's Python blocks in order; with ``seed`` its two ``seed(42)`` calls get that number."""
    blocks = _FENCE.findall(document)
    if seed is None:
        return blocks
    replaced = [_SEED.subn(rf"\g<1>{seed})", block) for block in blocks]
    if sum(count for _, count in replaced) != 2:
        raise ValueError("the tutorial should seed numpy and torch once each with 42")
    return [block for block, _ in replaced]


def tutorial_blocks(seed: int | None = None) -> list[str]:
    """`code_blocks` of the seed tutorial."""
    return code_blocks(TUTORIAL.read_text(), seed)


def data_blocks(blocks: list[str]) -> list[str]:
    """Return the blocks up to the one that makes the data."""
    last = next(position for position, block in enumerate(blocks) if DATA_READY in block)
    return blocks[: last + 1]


def custom_model_block(blocks: list[str]) -> str:
    """Return the block that defines the tutorial's ``CustomRNN``."""
    return next(block for block in blocks if "class CustomRNN(" in block)
