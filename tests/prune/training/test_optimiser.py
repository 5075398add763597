"""The learning rate of a hybrid model's stem, and runs that an older version stopped."""

import dataclasses

import pytest
import torch

from prune.config.settings import TrainConfig
from prune.training.checkpoints import checkpoint_files, load_checkpoint, save_checkpoint
from prune.training.loop import fit
from runtime.errors import ConfigError
from tests.fakes import lite

CONFIG = TrainConfig(optimizer="adamw", lr=1e-3, epochs=1, warmup_epochs=0, workers=1, average=0.9)


def batches(epoch):
    images, labels, cameras = lite.batch(10)
    return [(images, labels, cameras % 3)] * 3


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("factor", [0.0, 0.5])
def test_a_factor_of_zero_leaves_the_given_layers_of_the_stem_unchanged(tmp_path, optimizer, factor):
    network = lite.model(variant="hybrid_lite")
    before = {key: value.clone() for key, value in network.base.stem.state_dict().items()}
    config = dataclasses.replace(CONFIG, optimizer=optimizer, stem_lr_factor=factor)
    after = fit(network, batches, config=config, out=tmp_path).base.stem.state_dict()
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert "tokens.weight" in changed
    given = {"skip.weight", "conv_stem.weight"}
    assert (given <= changed) if factor else changed <= {"tokens.weight", "tokens.bias"}


def test_a_setting_that_an_older_run_lacks_had_its_default(tmp_path):
    fit(lite.model(), batches, config=CONFIG, out=tmp_path)
    content = load_checkpoint(tmp_path)
    del content["config"]["stem_lr_factor"]
    for path in checkpoint_files(tmp_path):
        path.unlink()
    save_checkpoint(tmp_path, content["state"]["done"], content)
    longer = dataclasses.replace(CONFIG, epochs=2)
    with pytest.raises(ConfigError, match="stem_lr_factor"):
        fit(
            lite.model(),
            batches,
            config=dataclasses.replace(longer, stem_lr_factor=0.5),
            out=tmp_path,
            resume=True,
        )
    fit(lite.model(), batches, config=longer, out=tmp_path, resume=True)
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 2
