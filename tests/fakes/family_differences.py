"""Print the largest difference to each golden array of other authors: `python -m tests.fakes.family_differences [CASE ...]`."""

import dataclasses
import sys

import numpy as np
import torch

from export.exporting import build_graph
from export.forms import Folded
from prune.config.load import Config
from prune.importing.checkpoint import with_recognised
from prune.importing.convert import convert_state, split_checkpoint
from prune.importing.recognise import recognise
from prune.model.surgery import rebuild
from runtime.backends.onnxruntime import OnnxRuntimeSession, onnxruntime
from runtime.spec import InputSpec
from tests.fakes.families import family_case
from tests.fakes.golden import unit

CASES = ("personvit_small_s16", "ssl_small_ics_s16", "pass_small_s16", "clipreid_base_s16")
POOLED = ("avg", "max", "avg_max", "gem")
SPEC = InputSpec(layout="float-nchw")


def main(names):
    for name in names:
        golden = family_case(name)
        state, lists = split_checkpoint({"state_dict": golden.state()}, name)
        config, _ = with_recognised(Config(), recognise(state), name, overrides=())
        network = convert_state(state, lists, config.architecture(), name, 0.0)
        for array in (key for key in golden.arrays if key in golden.meta["float32_minus_float64"]):
            word = array.removeprefix("features_")
            if not array.startswith("features_") or word not in ("unpruned", "after", *POOLED):
                continue
            changes = {
                "neck": "after" if word == "after" else "before",
                "pooling": word if word in POOLED else "class",
            }
            model = rebuild(
                network, dataclasses.replace(network.architecture, **changes), network.state_dict()
            )
            theirs = golden.arrays[array]
            with torch.no_grad():
                plain = model.eval()(golden.images).numpy()
                folded = Folded(model, SPEC)(golden.images).numpy()
            graph, _ = build_graph(model, SPEC, "folded")
            session = OnnxRuntimeSession(onnxruntime.InferenceSession(graph.SerializeToString()), name, SPEC)
            ran = session(golden.images.numpy())
            differences = [np.abs(features - unit(theirs)).max() for features in (unit(plain), folded, ran)]
            print(
                f"{name} {array}: raw {np.abs(plain - theirs).max():.1e} (allowed {golden.tolerance(array):.1e}); L2-normalised plain "
                f"{differences[0]:.1e}, folded {differences[1]:.1e}, ONNX Runtime {differences[2]:.1e}",
                flush=True,
            )


if __name__ == "__main__":
    main(sys.argv[1:] or CASES)
