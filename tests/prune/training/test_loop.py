"""The training loop: the schedule acts, losses fall, a killed run goes on exactly, a bad loss stops it."""

import dataclasses
import json
import math
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from prune.config.settings import DistillConfig, TrainConfig
from prune.model.architecture import unpruned
from prune.model.transreid import TransReID
from prune.training import loop, losses
from prune.training.checkpoints import checkpoint_files, load_checkpoint
from prune.training.loop import fit, make_accelerator
from prune.training.objective import Objective
from prune.training.optimiser import build_optimiser, lr_scale
from runtime.errors import ConfigError, DeviceError, GateError
from tests.fakes import training_runs

ROOT = Path(__file__).resolve().parents[3]
CONFIG = TrainConfig(optimizer="adamw", lr=1e-3, epochs=2, warmup_epochs=0, workers=1)


def batch(seed: int = 0, cameras: int | None = None):
    labels = torch.arange(4).repeat_interleave(2)
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(8, 3, 64, 32, generator=generator) * 0.5 + labels[:, None, None, None] / 2
    return images, labels, None if cameras is None else torch.arange(8) % cameras


def small(**keys) -> TransReID:
    torch.manual_seed(0)
    return TransReID(unpruned("vit_lite", height=64, width=32, identities=4, **keys), drop_path=0.1)


def rows(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def launched(*arguments: str, timeout: int = 300) -> subprocess.CompletedProcess:
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "ACCELERATE_USE_CPU": "true",
    }
    whole = [sys.executable, *arguments]
    with subprocess.Popen(
        whole, cwd=ROOT, env=environment, stdout=-1, stderr=-1, text=True, start_new_session=True
    ) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except BaseException:
            # A launcher that is killed alone leaves its workers behind: its whole group goes.
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(whole, process.returncode, out, err)


def test_the_schedule_warms_up_linearly_and_falls_as_half_a_cosine():
    config = TrainConfig(epochs=20, warmup_epochs=4, warmup_factor=0.1, lr_min_factor=0.002)
    assert [lr_scale(epoch, config) for epoch in (0, 2, 4)] == pytest.approx([0.1, 0.55, 1.0])
    assert lr_scale(12, config) == pytest.approx((1 + 0.002) / 2)
    assert lr_scale(8, config) == pytest.approx(0.002 + 0.998 * (1 + math.cos(math.pi / 4)) / 2)
    assert lr_scale(20, config) == pytest.approx(0.002)
    values = [lr_scale(epoch / 10, config) for epoch in range(40, 201)]
    assert values == sorted(values, reverse=True)


def test_between_rounds_the_rate_is_constant_and_after_the_last_the_schedule_runs():
    config = TrainConfig(epochs=120, fine_epochs=2, final_epochs=30, warmup_epochs=5)
    rounds, final = config.for_rounds(), config.for_final()
    assert (rounds.epochs, final.epochs, final.warmup_epochs) == (2, 30, 5)
    assert {lr_scale(epoch / 10, rounds) for epoch in range(21)} == {1.0}
    assert lr_scale(30, final) == pytest.approx(final.lr_min_factor)


def test_biases_have_their_own_rate_and_frozen_neck_biases_are_left_out():
    model = small()
    optimiser = build_optimiser(model, TrainConfig(lr=0.1, bias_lr_factor=3, weight_decay_bias=0.5))
    weights, biases = optimiser.param_groups
    names = {id(value): name for name, value in model.named_parameters()}
    assert biases["lr"] == pytest.approx(0.3) and biases["weight_decay"] == 0.5 and weights["lr"] == 0.1
    assert all(names[id(value)].endswith(".bias") for value in biases["params"])
    held = {names[id(value)] for group in (weights, biases) for value in group["params"]}
    assert set(names.values()) - held == {f"bottleneck{suffix}.bias" for suffix in model.suffixes}


def test_a_warm_up_that_never_ends_is_refused():
    with pytest.raises(ConfigError, match=r"warmup_epochs 5 .*epochs 3"):
        build_optimiser(small(), TrainConfig(epochs=3, warmup_epochs=5))


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_the_loss_goes_down_on_a_tiny_set_and_the_rate_in_use_is_the_schedules(optimizer, tmp_path):
    lr = 0.02 if optimizer == "sgd" else 1e-3
    config = dataclasses.replace(CONFIG, optimizer=optimizer, lr=lr, epochs=6, warmup_epochs=1)
    model = fit(small(), lambda epoch: [batch(), batch(1)], config=config, out=tmp_path)
    epochs = rows(tmp_path)
    assert [row["epoch"] for row in epochs] == [1, 2, 3, 4, 5, 6] and epochs[-1]["images"] == 16
    assert epochs[-1]["loss"] < 0.7 * epochs[0]["loss"] and epochs[-1]["accuracy"] > epochs[0]["accuracy"]
    # The last step of epoch n stands at n - 1/2.
    expected = [lr * lr_scale(epoch + 0.5, config) for epoch in range(6)]
    assert [row["lr"] for row in epochs] == pytest.approx(expected)
    for row in epochs:
        assert row["loss"] == pytest.approx(sum(row["step_losses"]) / 2)
        assert row["seconds"] == pytest.approx(row["data_seconds"] + row["step_seconds"])
    assert not model.training


def test_the_rate_reaches_the_weights(tmp_path):
    """With a rate of zero all the way the weights do not move; a schedule bound to a dead optimiser would."""
    config = dataclasses.replace(CONFIG, optimizer="sgd", epochs=1, warmup_epochs=0, lr=1e-12)
    before = small().state_dict()
    after = fit(small(), lambda epoch: [batch()], config=config, out=tmp_path / "a").state_dict()
    assert torch.equal(before["b1.0.mlp.fc1.weight"], after["b1.0.mlp.fc1.weight"])
    moved = dataclasses.replace(config, lr=1e-2)
    after = fit(small(), lambda epoch: [batch()], config=moved, out=tmp_path / "b").state_dict()
    assert not torch.equal(before["b1.0.mlp.fc1.weight"], after["b1.0.mlp.fc1.weight"])
    assert torch.equal(before["bottleneck.bias"], after["bottleneck.bias"])


def test_the_teacher_is_run_in_eval_mode_and_stays_as_it_is(tmp_path):
    teacher = small().train()
    modes = []
    teacher.bottleneck.register_forward_hook(lambda module, *_: modes.append(module.training))
    before = {key: value.clone() for key, value in teacher.state_dict().items()}
    config = dataclasses.replace(CONFIG, distill=DistillConfig("soft", 2.0, 4.0))
    fit(small(), lambda epoch: [batch()], config=config, out=tmp_path, teacher=teacher)
    assert modes == [False, False]
    assert all(torch.equal(value, before[key]) for key, value in teacher.state_dict().items())
    assert rows(tmp_path)[1]["distillation"] > 0


def test_distillation_pulls_the_students_logits_to_the_teachers(tmp_path):
    teacher = small()
    for suffix in teacher.suffixes:
        torch.nn.init.normal_(getattr(teacher, f"classifier{suffix}").weight, std=0.2)
    last = {}
    for alpha in (0.0, 50.0):
        out = tmp_path / str(alpha)
        config = dataclasses.replace(CONFIG, epochs=8, distill=DistillConfig("soft", alpha, 4.0))
        fit(small(), lambda epoch: [batch()], config=config, out=out, teacher=teacher)
        first, *_, last[alpha] = rows(out)
        assert first["loss"] == pytest.approx(
            first["identity"] + first["metric"] + alpha * first["distillation"], rel=1e-5
        )
    assert last[50.0]["distillation"] < 0.8 * min(first["distillation"], last[0.0]["distillation"])


def test_feature_distillation_learns_from_a_teacher_who_knows_other_people(tmp_path):
    teacher = TransReID(unpruned("vit_lite", height=64, width=32, identities=9), drop_path=0.0)
    last = {}
    for alpha in (0.0, 20.0):
        config = dataclasses.replace(CONFIG, epochs=8, distill=DistillConfig("features", alpha))
        fit(small(), lambda epoch: [batch()], config=config, out=tmp_path / str(alpha), teacher=teacher)
        first, *_, last[alpha] = rows(tmp_path / str(alpha))
    assert last[20.0]["distillation"] < 0.8 * min(first["distillation"], last[0.0]["distillation"])


def test_distillation_needs_a_teacher_of_the_same_identities(tmp_path):
    config = dataclasses.replace(CONFIG, distill=DistillConfig("hard"))
    with pytest.raises(ConfigError, match=r"train\.distill\.type hard"):
        fit(small(), lambda epoch: [batch()], config=config, out=tmp_path)
    other = TransReID(unpruned("vit_lite", height=64, width=32, identities=9))
    with pytest.raises(ConfigError, match=r"teacher.* 9 .*student.* 4"):
        fit(small(), lambda epoch: [batch()], config=config, out=tmp_path, teacher=other)


@pytest.mark.parametrize("where", ["loss", "weights"])
def test_a_value_that_is_not_finite_stops_the_run_and_keeps_the_last_good_checkpoint(where, tmp_path):
    def batches(epoch):
        images, labels, cameras = batch()
        return [(images * torch.nan if epoch == 1 and where == "loss" else images, labels, cameras)]

    model = small()
    config = dataclasses.replace(CONFIG, epochs=3, optimizer="sgd")
    if where == "weights":
        # A finite loss, then a gradient that breaks a weight: only the check before saving can see it.
        count = []
        model.b1[1].weight.register_hook(
            lambda grad: grad * torch.nan if count.append(1) or len(count) > 1 else grad
        )
    with pytest.raises(GateError, match=r"epoch 2 step 0|epoch 3 step 0") as caught:
        fit(model, batches, config=config, out=tmp_path)
    assert "snapshot-000000001.pt" in str(caught.value) and caught.value.code == 7
    assert [path.name for path in checkpoint_files(tmp_path)] == ["snapshot-000000001.pt"]
    kept = load_checkpoint(tmp_path)
    assert all(value.isfinite().all() for value in kept["model"].values())


def test_killed_at_five_random_steps_the_remaining_losses_are_the_unbroken_runs(tmp_path):
    torch.set_num_threads(1)
    training_runs.run(tmp_path / "whole")
    expected = training_runs.losses(tmp_path / "whole")
    assert len(set(expected)) == 3 * training_runs.STEPS
    every = [(epoch, step) for epoch in range(3) for step in range(training_runs.STEPS)]
    for often in (0, 1):
        # In order: a killed run only ever gets further.
        places = sorted(random.Random(often).sample(every, 5))
        broken = tmp_path / f"broken{often}"
        arguments = ["kill", str(broken), str(often), json.dumps(places)]
        result = launched("-m", "tests.fakes.training_runs", *arguments)
        assert result.returncode == 0, result.stderr
        assert training_runs.losses(broken) == expected
        whole, resumed = (load_checkpoint(folder) for folder in (tmp_path / "whole", broken))
        for part in ("model", "averaged"):
            assert all(torch.equal(value, resumed[part][key]) for key, value in whole[part].items())


def test_the_result_is_the_running_average_of_the_weights_after_every_step(tmp_path, monkeypatch):
    config = dataclasses.replace(CONFIG, epochs=1, average=0.4, checkpoint_steps=1)
    steps, saved = [batch(seed) for seed in range(5)], []
    model = small()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    key = "base.blocks.3.mlp.fc1.weight"

    def save(folder, step, content):
        saved.append(content["model"][key].clone())

    monkeypatch.setattr(loop, "save_checkpoint", save)
    fit(model, lambda epoch: steps, config=config, out=tmp_path)
    expected = before[key].double()
    for done, weights in enumerate(saved[:5]):
        decay = min(0.4, (1 + done) / (10 + done))
        expected = decay * expected + (1 - decay) * weights.double()
    assert model.state_dict()[key].double() == pytest.approx(expected, abs=1e-6)
    assert not torch.equal(model.state_dict()[key], saved[-1])


def test_the_contrastive_metric_takes_the_triplets_place_and_both_losses_their_weights():
    config = dataclasses.replace(
        CONFIG, metric="contrastive", temperature=0.2, identity_weight=0.25, metric_weight=2.0
    )
    model = TransReID(unpruned("vit_lite", height=64, width=32, identities=4), drop_path=0.0).train()
    images, labels, _ = batch()
    with torch.no_grad():
        total, terms = Objective(model, config)(images, labels, None, None)
        parts = model.parts(images)
        identity = losses.identity_loss(model.logits(parts), labels)
        contrast = losses.contrastive_loss(parts, labels, temperature=0.2)
    assert float(total) == pytest.approx(0.25 * float(identity) + 2 * float(contrast), rel=1e-5)
    assert [float(terms[1]), float(terms[2])] == pytest.approx([float(identity), float(contrast)], rel=1e-5)


def test_a_finished_run_resumed_changes_nothing(tmp_path):
    first = training_runs.run(tmp_path).state_dict()
    lines = (tmp_path / "metrics.jsonl").read_text()
    resumed = training_runs.run(tmp_path, resume=True).state_dict()
    assert all(torch.equal(first[key], resumed[key]) for key in first)
    assert (tmp_path / "metrics.jsonl").read_text() == lines


def test_a_resumed_run_must_be_the_same_run(tmp_path):
    fit(small(), lambda epoch: [batch()], config=CONFIG, out=tmp_path)
    other = dataclasses.replace(CONFIG, lr=0.5, workers=2)
    with pytest.raises(ConfigError, match=r" train\.lr;"):
        fit(small(), lambda epoch: [batch()], config=other, out=tmp_path, resume=True)


def test_a_resumed_run_may_end_sooner_or_go_on_for_longer_but_not_end_in_its_past(tmp_path, capsys):
    config = dataclasses.replace(CONFIG, epochs=3)
    fit(small(), lambda epoch: [batch()], config=dataclasses.replace(config, epochs=2), out=tmp_path)
    fit(small(), lambda epoch: [batch()], config=config, out=tmp_path, resume=True)
    assert "planned for 2 epochs" in capsys.readouterr().err
    # the last epoch ran on the new schedule: at the end of the old one its rate would be the lowest
    rates = [row["lr"] for row in rows(tmp_path)]
    assert rates[2] == pytest.approx(config.lr * lr_scale(2, config))
    with pytest.raises(ConfigError, match=r" train\.epochs;"):
        fit(
            small(),
            lambda epoch: [batch()],
            config=dataclasses.replace(config, epochs=1),
            out=tmp_path,
            resume=True,
        )


def test_two_processes_share_their_gradients(tmp_path):
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    result = launched(*command, "-m", "tests.fakes.training_runs", "pair", str(tmp_path))
    assert result.returncode == 0, result.stderr[-3000:]
    first, second = (json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in range(2))
    assert first["processes"] == 2 and first == second
    assert [row["images"] for row in rows(tmp_path)] == [2 * 8 * training_runs.STEPS] * 2


def test_bf16_computes_in_bf16_and_keeps_fp32_weights(tmp_path):
    code = (
        "import dataclasses, sys, torch; from pathlib import Path; from tests.fakes.training_runs import *\n"
        "seen = []; m = model(); m.base.blocks[0].attn.qkv.register_forward_hook(lambda *a: seen.append(a[2].dtype))\n"
        "c = dataclasses.replace(CONFIG, precision='bf16', epochs=2)\n"
        "fit(m, Batches(), config=c, out=Path(sys.argv[1]), teacher=model(1))\n"
        "assert set(seen) == {torch.bfloat16}, set(seen)\n"
        "assert {p.dtype for p in m.parameters()} == {torch.float32}\n"
    )
    result = launched("-c", code, str(tmp_path))
    assert result.returncode == 0, result.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_no_silent_fallback_from_cuda_or_fp16():
    with pytest.raises(DeviceError, match="no CUDA device"):
        make_accelerator("fp32", "cuda")
    with pytest.raises(ConfigError, match=r"train\.precision fp16"):
        make_accelerator("fp16")
