"""Export one transformer block at many sizes, each as a small ONNX file, so that benchmarks.latency_table can time them."""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn

from export.folding.outputs import fold_scale
from export.forms import ReorderedBlock
from export.fp16.convert import to_fp16
from export.graph import OPSET, fusible_gelu, named_batch, prove_static, quiet, simplified
from export.int8.quantize import raise_opset
from export.tensorrt8 import for_tensorrt8
from prune.model.architecture import Architecture
from prune.model.block import Block
from runtime.errors import ConfigError, StorageError
from runtime.files.manifest import replacing

INDEX = "index.json"
# The exported numbers of tokens, as shares of all tokens. Times of other numbers are interpolated linearly, which is close enough.
SHARES = (0.3, 0.45, 0.6, 0.75, 0.9, 1.0)
# The number of exported head counts, the unpruned one included; a model with fewer heads has fewer.
HEADS = 8
# The exported widths of narrower MLPs, as shares of all MLP neurons. These blocks have all heads, because the cost of an MLP does
# not depend on the heads.
WIDTHS = (0.75, 0.5, 0.25)


def block_sizes(architecture: Architecture) -> list[tuple[int, int, int]]:
    """Return the sizes (heads, tokens with the class token, MLP neurons) of the blocks to export, the unpruned block first."""
    total, hidden = architecture.vit.heads, architecture.vit.hidden
    heads = sorted({max(1, round(total * step / HEADS)) for step in range(1, HEADS + 1)}, reverse=True)
    tokens = sorted({max(2, round(share * architecture.tokens)) for share in SHARES}, reverse=True)
    narrower = [(total, t, round(share * hidden)) for share in WIDTHS for t in tokens]
    return [(h, t, hidden) for h in heads for t in tokens] + narrower


def block_form(
    architecture: Architecture, heads: int, tokens: int, hidden: int | None = None, *, seed: int = 0
) -> nn.Module:
    """Return a transformer block with `heads` heads and random weights, a module that maps (B, N, D) tokens to (B, N, D).

    N is the number of tokens of the unpruned model, and `tokens` is the number of those that the block processes: the class token
    and `tokens` - 1 randomly chosen patch tokens. They come first in the output; the other tokens follow unchanged. `architecture`
    is that of the whole model. `hidden` is the number of MLP neurons (None: as many as in the unpruned block). `seed` determines
    the weights and the choice of the tokens.
    """
    torch.manual_seed(seed)
    block = Block(architecture.vit, heads, hidden=hidden).eval()
    fold_scale(block)
    if tokens == architecture.tokens:
        return block
    random = np.random.default_rng(seed)
    kept = [0, *sorted((1 + random.permutation(architecture.tokens - 1)[: tokens - 1]).tolist())]
    rest = sorted(set(range(architecture.tokens)) - set(kept))
    return ReorderedBlock(block, kept + rest, tokens)


def block_graph(
    architecture: Architecture, heads: int, tokens: int, hidden: int | None = None
) -> onnx.ModelProto:
    """Return the ONNX model of the block that `block_form` makes, with the input `x` and the output `y`, both (batch, N, D) float32.

    N is the number of tokens of the unpruned model. The operators are those of a block in a whole exported model.
    """
    example = torch.zeros(2, architecture.tokens, architecture.vit.width)
    with warnings.catch_warnings(), quiet():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            copy.deepcopy(block_form(architecture, heads, tokens, hidden)),
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=["x"],
            output_names=["y"],
            dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
            verbose=False,
        )
    assert program is not None
    graph = named_batch(fusible_gelu(simplified(program.model_proto)))
    prove_static(graph)
    return graph


def refuse(precision: str) -> None:
    """Raise ConfigError if `precision` is int8, which needs measured value ranges that a block with random weights does not have."""
    if precision == "int8":
        raise ConfigError(
            "--blocks does not support INT8; export the unpruned model with --precision fp16 for a GPU, or fp32 for a CPU"
        )


def with_precision(graph: onnx.ModelProto, precision: str, target: str) -> onnx.ModelProto:
    """Return the FP32 `graph` of a block, converted to `precision` for `target` in the same way as the graph of a whole model.

    Its input and output stay FP32. For tensorrt8 the whole graph stays FP32, because build flags make the engine FP16.
    """
    if target == "tensorrt8":
        return for_tensorrt8(graph)
    result = to_fp16(graph) if precision == "fp16" else graph
    if target == "tensorrt":
        raise_opset(result)
    return result


def write_blocks(
    architecture: Architecture,
    folder: Path,
    model: dict[str, Any],
    sizes: Sequence[tuple[int, int, int]] | None = None,
    *,
    precision: str = "fp32",
    target: str = "onnxruntime",
) -> Iterable[Path]:
    """Write one ONNX file for each block size, and then index.json, into `folder`; yield each path once it is written.

    `sizes` has (heads, tokens, MLP neurons) for each file (None: those that `block_sizes` returns). index.json lists the sizes with
    their files, and `model`, which identifies the whole exported model: {file, sha256, shape}, where `shape` is its architecture as
    in its manifest. Existing block files are kept, so that an interrupted export can be resumed. Raises ConfigError for INT8, and
    StorageError when the folder cannot be created.
    """
    refuse(precision)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{folder}: cannot be created ({error.strerror}); choose another --out") from None
    rows = []
    for heads, tokens, hidden in sizes or block_sizes(architecture):
        path = folder / f"h{heads}_t{tokens}_m{hidden}.{precision}.{target}.onnx"
        if not path.exists():
            with replacing(path) as temporary:
                graph = block_graph(architecture, heads, tokens, hidden)
                onnx.save(with_precision(graph, precision, target), temporary)
        rows.append({"heads": heads, "tokens": tokens, "hidden": hidden, "file": path.name})
        yield path
    index = {
        "variant": architecture.variant,
        "heads": architecture.vit.heads,
        "tokens": architecture.tokens,
        "width": architecture.vit.width,
        "prunable": architecture.prunable,
        "model": model,
        "grid": rows,
    }
    with replacing(folder / INDEX) as temporary:
        temporary.write_text(json.dumps(index, indent=1) + "\n")
    yield folder / INDEX
