"""Print the largest difference between each golden array and this project: `python -m tests.fakes.golden_differences`."""

import numpy as np
import torch

from export.exporting import build_graph
from export.forms import Folded
from prune.config.settings import HeadConfig, TokenConfig
from prune.importing.convert import original_tokens
from prune.scoring.amg import choose_heads, choose_tokens
from prune.scoring.model_scores import score_heads, score_tokens
from runtime.backends.onnxruntime import OnnxRuntimeSession, onnxruntime
from tests.fakes.golden import case, unit
from tests.prune.test_golden import JPM, cross_entropy, model, spec


def descriptors(name, form, network, theirs):
    """Print how much the features of three forms of a model differ from those of the authors' model, `theirs`.

    The features are compared after L2 normalisation, and those of the plain form also before it.
    """
    golden = case(name)
    plain = golden.run(network)
    with torch.no_grad():
        folded = Folded(network, spec(golden))(golden.images, golden.cameras).numpy()
    graph, _ = build_graph(network, spec(golden), "folded")
    session = OnnxRuntimeSession(onnxruntime.InferenceSession(graph.SerializeToString()), name, spec(golden))
    cameras = None if golden.cameras is None else golden.cameras.numpy()
    ran = session(golden.images.numpy(), cameras)
    normal = [np.abs(features - unit(theirs)).max() for features in (unit(plain), folded, ran)]
    cosine = 1 - min((features * unit(theirs)).sum(axis=1).min() for features in (unit(plain), folded, ran))
    print(
        f"{name} {form}: raw {np.abs(plain - theirs).max():.1e}; L2-normalised plain {normal[0]:.1e}, "
        f"folded {normal[1]:.1e}, ONNX Runtime {normal[2]:.1e}; 1 - cosine {cosine:.1e}"
    )


def main():
    for name in JPM:
        golden = case(name)
        for form in ("unpruned", "heads", "pruned"):
            descriptors(name, f"features_{form}", model(name, form), golden.arrays[f"features_{form}"])
        batch = (golden.images, torch.arange(4), golden.cameras)
        entropies = score_heads(model(name, "unpruned"), [batch])
        print(
            f"{name} head_entropy: {max(np.abs(e.numpy() - r).max() for e, r in zip(entropies, golden.arrays['head_entropy'])):.1e}"
        )
        heads, _ = choose_heads(entropies, golden.meta["pruned_heads"], HeadConfig())
        same = heads == [np.flatnonzero(row).tolist() for row in golden.arrays["head_mask"]]
        print(f"{name} head_mask: {golden.meta['pruned_heads']} removed, equal: {same}")
        sums = score_tokens(model(name, "heads"), [batch], cross_entropy)
        worst = max(
            np.abs(s.numpy() - r).max() / r.max() for s, r in zip(sums, golden.arrays["token_scores"])
        )
        print(f"{name} token_scores: {worst:.1e} of the block's largest")
        tokens, _ = choose_tokens(sums, model(name, "heads"), golden.meta["pruned_tokens"], TokenConfig())
        same = [(0, *kept) for kept in tokens] == original_tokens(golden.arrays["token_index"].tolist())
        print(f"{name} token_index: {golden.meta['pruned_tokens']} removed, equal: {same}")
    golden = case("baseline_s16")
    descriptors("baseline_s16", "features_unpruned", golden.model(), golden.arrays["features_unpruned"])


if __name__ == "__main__":
    main()
