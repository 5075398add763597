"""Damaged configurations of this project and of the authors, with overrides, from which a model's architecture is read."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import yaml

# The command imports this where it uses it. Here it is imported before the memory of the process is limited.
import prune.model.flops  # noqa: F401
from prune.cli import flops
from prune.config.load import load_config
from tests.campaigns.mutate import ODD, damaged, tree_damaged

AUTHORS = """
MODEL:
  PRETRAIN_CHOICE: 'imagenet'
  TRANSFORMER_TYPE: 'vit_base_patch16_224_TransReID'
  STRIDE_SIZE: [12, 12]
  SIE_CAMERA: True
  SIE_COE: 3.0
  JPM: True
  RE_ARRANGE: True
  NO_MARGIN: True
INPUT:
  SIZE_TRAIN: [256, 128]
  SIZE_TEST: [256, 128]
  PIXEL_MEAN: [0.5, 0.5, 0.5]
  PIXEL_STD: [0.5, 0.5, 0.5]
DATASETS:
  NAMES: ('market1501')
  ROOT_DIR: ('../data')
DATALOADER:
  NUM_INSTANCE: 4
SOLVER:
  OPTIMIZER_NAME: 'SGD'
  MAX_EPOCHS: 120
  BASE_LR: 0.008
  IMS_PER_BATCH: 64
FINETUNE:
  PRUNE_MODE: attn
  PRUNE_RATE: 0.25
"""
# A few nested names that stand for millions of values.
BOMB = (
    "[&a [x, x], "
    + ", ".join(f"&{new} [{', '.join([f'*{old}'] * 8)}]" for old, new in zip("abcdef", "bcdefg"))
    + ", *g, *g]"
)
# Texts that YAML accepts, but that no Python value is written as: numbers, dates, tags, anchors, merges, deep nesting.
RAW = (
    "[" * 20_000,
    "{a: " * 3_000,
    "9" * 5000,
    "2001-99-99",
    "0x" + "f" * 5000,
    "1:99:99",
    "190:20:30:15",
    "!!python/object/apply:os.system [x]",
    "!!binary x",
    "!!set {a, b}",
    "!!omap [a: 1]",
    "!!timestamp x",
    "!!int x",
    "!!float x",
    "!!bool maybe",
    "*none",
    "&a [*a]",
    "&a {b: *a}",
    "<<: 3",
    BOMB,
    "? [a, b]\n: 1",
    "? {a: 1}\n: 1",
    "--- x\n--- y",
    "%YAML 9.9",
    "\t",
    "\0",
    "\x1b[31m",
    "'",
    '"\\x1b"',
    '"\\ud800"',
    "|\n x",
    ".inf",
    "-.inf",
    ".nan",
    "1e999",
    "1_000",
    "2001-01-01",
    "2001-01-01T00:00:00+99:99",
    "~",
    "=",
    "&a x",
    "!x y",
    "10000000000",
    "-1",
    "[10000000000, 10000000000]",
    "[1000000, 1000000]",
    "1000000000000000",
)


def prepare(folder: Path) -> list[tuple[str, Any]]:
    """Return (text, content) of the configurations of this project, and of one in the authors' format."""
    texts = [path.read_text() for path in sorted(Path("configs").glob("*/*.yaml"))] + [AUTHORS] * 6
    return [(text, yaml.safe_load(text)) for text in texts]


def make(files: list[tuple[str, Any]], random: Random, folder: Path) -> tuple[Callable[[], int], bool]:
    """Write one damaged file. Return the command that reads it, sometimes with overrides, and whether it must refuse it."""
    text, tree = random.choice(files)
    path, change = folder / "config.yaml", random.randrange(4)
    if change == 0:
        data = damaged(text.encode(), random)
    elif change == 1:
        data = _raw(text, random).encode(errors="surrogatepass")
    elif change == 2:
        data = _lines(text, random).encode()
    else:
        data = yaml.safe_dump(tree_damaged(tree, random), allow_unicode=True).encode(errors="surrogatepass")
    path.write_bytes(data)
    words = _override(tree, random) if random.random() < 0.3 else []

    def read() -> int:
        config = load_config(path, words[1::2])
        config.spec(), config.architecture()
        return flops.main(["--config", str(path), "--json", *words])

    return read, False


def _raw(text: str, random: Random) -> str:
    """Return the text of a configuration with one value replaced by a text from RAW."""
    places = list(re.finditer(r": (.+)$", text, re.MULTILINE))
    place = random.choice(places)
    return text[: place.start(1)] + random.choice(RAW) + text[place.end(1) :]


def _lines(text: str, random: Random) -> str:
    lines = text.splitlines(keepends=True)
    for _ in range(random.choice((1, 1, 2, 4))):
        at = random.randrange(len(lines))
        change = random.randrange(5)
        if change == 0 and len(lines) > 1:
            del lines[at]
        elif change == 1:
            lines.insert(random.randrange(len(lines)), lines[at])
        elif change == 2:
            lines[at] = "  " * random.randint(0, 3) + lines[at].lstrip()
        elif change == 3:
            lines[at] = lines[at].swapcase()
        else:
            lines[at] = lines[at].replace(":", random.choice(("", "::", ":\t", " :", ": &a", ": *a")), 1)
    return "".join(lines)


def _override(tree: Any, random: Random) -> list[str]:
    section = random.choice(list(tree))
    inner = tree[section]
    key = random.choice(list(inner)) if isinstance(inner, dict) else "x"
    value = random.choice((*RAW, *map(str, ODD)))[:4000].replace("\0", "")
    given = random.choice(
        (
            f"{section}.{key}={value}",
            f"{section}={value}",
            f"{key}={value}",
            f"{section}.{key}.x={value}",
            value,
            f".{key}=",
            "=",
            "a.=1",
        )
    )
    return ["--set", given] if not given.startswith("-") else []
