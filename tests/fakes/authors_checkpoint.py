"""Checkpoints in the authors' formats, from the golden weights: `python -m tests.fakes.authors_checkpoint OUT.pth [unpruned]`."""

import sys

import numpy as np
import torch

from prune.importing.convert import convert_state, read_checkpoint, split_checkpoint
from prune.model.surgery import keep_head_columns, keep_head_rows
from tests.fakes.golden import case


def convert(path, architecture):
    """Return the model in the checkpoint at `path`, whose unpruned architecture is known."""
    return convert_state(*split_checkpoint(read_checkpoint(path), path), architecture, path, 0.1)


def amg_checkpoint(name="market_base_s12", *, module=False):
    """Return the content of a checkpoint as AMG's code saves it: {state_dict, channels, heads, dims}.

    As there, numbers are numpy integers and 0-d tensors, and the masks of tokens refer to re-ordered tokens.
    """
    golden = case(name)
    state, head_dim = golden.state(), golden.architecture.vit.head_dim
    for block, (heads, tokens) in enumerate(zip(golden.arrays["head_mask"], golden.arrays["token_index"])):
        prefix = f"base.blocks.{block}.attn"
        keep = np.flatnonzero(heads).tolist()
        for key in (f"{prefix}.qkv.weight", f"{prefix}.qkv.bias"):
            if key in state:
                state[key] = keep_head_rows(state[key], keep, head_dim)
        state[f"{prefix}.proj.weight"] = keep_head_columns(state[f"{prefix}.proj.weight"], keep, head_dim)
        state[f"{prefix}.token_index"] = torch.from_numpy(tokens).bool()
    if module:
        state = {f"module.{key}": value for key, value in state.items()}
    heads = [np.int64(count) for count in golden.meta["heads"]]
    return {
        "state_dict": state,
        "channels": [torch.tensor(count) for count in golden.meta["channels"]],
        "heads": heads,
        "dims": [np.int64(64) * count for count in heads],
    }


if __name__ == "__main__":
    bare = sys.argv[2:] == ["unpruned"]
    torch.save(case("market_base_s12").state(token_index=False) if bare else amg_checkpoint(), sys.argv[1])
