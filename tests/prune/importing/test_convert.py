"""Published checkpoint formats: loaded exactly, loaded safely, refused clearly."""

import dataclasses
import os
import pickle

import numpy as np
import pytest
import torch

from prune.cli.convert import main
from prune.importing.convert import original_tokens, read_checkpoint
from prune.model.architecture import Architecture, unpruned
from prune.model.file import load_model, save_model
from runtime.entry import guarded
from runtime.errors import ArtifactError, GateError
from tests.fakes import lite
from tests.fakes.authors_checkpoint import amg_checkpoint, convert
from tests.fakes.golden import case

SMALL = "occduke_small_s11"


def write(path, data):
    torch.save(data, path)
    return path


@pytest.fixture(scope="module")
def small_pth(tmp_path_factory):
    return write(tmp_path_factory.mktemp("amg") / "small.pth", amg_checkpoint(SMALL, module=True))


def test_amg_checkpoint_gives_the_authors_features(small_pth):
    golden = case(SMALL)
    model = convert(small_pth, golden.architecture)
    assert np.abs(golden.run(model) - golden.arrays["features_pruned"]).max() < 1e-4
    assert [len(block.heads) for block in model.architecture.blocks] == golden.meta["heads"]
    assert not any(key.startswith(("base.blocks.7.", "base.norm", "base.fc")) for key in model.state_dict())


def test_bare_transreid_state_dict_without_masks_gives_the_authors_features(tmp_path):
    golden = case(SMALL)
    model = convert(write(tmp_path / "tr.pth", golden.state(token_index=False)), golden.architecture)
    assert np.abs(golden.run(model) - golden.arrays["features_unpruned"]).max() < 1e-4


def test_masks_are_read_in_the_order_the_blocks_before_left():
    # block 0 drops token 1: order 0 2 3 1; block 1 drops position 1, which is token 2
    assert original_tokens([[True, False, True, True], [True, False, True, True]]) == [(0, 2, 3), (0, 1, 3)]


def test_converting_writes_a_model_that_loads_strictly(small_pth, tmp_path, capsys):
    config = tmp_path / "c.yaml"
    config.write_text("model: {variant: vit_small, stride: 11, cameras: 8}\ndata: {layout: occluded_duke}\n")
    out = tmp_path / "m.safetensors"
    assert main([str(small_pth), "--config", str(config), "--out", str(out)]) == 0
    assert "[8, 8, 6, 6, 6, 2, 6]" in capsys.readouterr().out
    model, manifest = load_model(out)
    golden = case(SMALL)
    assert np.abs(golden.run(model) - golden.arrays["features_pruned"]).max() < 1e-4
    assert manifest["input"]["dataset"] == "occluded_duke" and manifest["input"]["camera"] == "input"
    assert Architecture.from_json(manifest["shape"]) == model.architecture


class Evil:
    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return os.system, (f"touch {self.canary}",)


@pytest.mark.parametrize("where", ["top", "nested", "legacy", "tar"])
def test_a_pickle_that_would_run_code_is_refused_and_does_not_run(where, tmp_path):
    canary, path = tmp_path / "canary", tmp_path / "evil.pth"
    evil = Evil(canary)
    if where == "top":
        torch.save(evil, path)
    elif where == "nested":
        torch.save({"state_dict": {"base.cls_token": torch.zeros(1)}, "heads": [evil]}, path)
    elif where == "legacy":
        torch.save({"state_dict": evil}, path, _use_new_zipfile_serialization=False)
    else:
        path.write_bytes(pickle.dumps(evil))
    with pytest.raises(ArtifactError, match="refused"):
        read_checkpoint(path)
    assert not canary.exists()


@pytest.mark.parametrize("kind", ["O", "U1", "V8"])
def test_numpy_types_that_could_read_memory_out_of_bounds_are_refused(kind, tmp_path):
    value = np.array([b"12345678"], dtype="V8")[0] if kind == "V8" else np.array(["a"], dtype=kind)
    with pytest.raises(ArtifactError, match="refused"):
        read_checkpoint(write(tmp_path / "x.pth", {"state_dict": {"a": torch.zeros(1)}, "heads": [value]}))


class Three:
    """Pickled as the numpy number 3 of a machine whose byte order is `order`."""

    def __init__(self, order):
        self.dtype = np.dtype(f"{order}i8")

    def __reduce__(self):
        return np.int64(3).__reduce__()[0], (self.dtype, np.array(3, self.dtype).tobytes())


def test_numbers_of_a_big_endian_machine_are_refused_and_not_misread(tmp_path):
    data = {"state_dict": {"a": torch.zeros(1)}}
    assert read_checkpoint(write(tmp_path / "x.pth", data | {"heads": [Three("<")]}))["heads"] == [3]
    with pytest.raises(ArtifactError, match="big-endian"):
        read_checkpoint(write(tmp_path / "x.pth", data | {"heads": [Three(">")]}))


def test_cut_and_flipped_checkpoints_are_read_whole_or_refused_in_one_line(tmp_path):
    good = write(
        tmp_path / "good.pth", {"state_dict": {"a": torch.ones(3)}, "heads": [np.int64(3)]}
    ).read_bytes()
    random, path = np.random.default_rng(0), tmp_path / "bad.pth"
    for _ in range(300):
        data = bytearray(good[: random.integers(1, len(good) + 1)])
        data[random.integers(len(data))] ^= 1 << random.integers(8)
        path.write_bytes(data)
        try:
            assert isinstance(read_checkpoint(path), dict)
        except ArtifactError as error:
            assert str(path) in str(error)


@pytest.mark.parametrize("wrong", [3, [None], "abc"])
def test_values_that_are_not_lists_of_numbers_are_refused(wrong, tmp_path):
    with pytest.raises(ArtifactError, match="`heads`"):
        convert(write(tmp_path / "x.pth", {"state_dict": lite_state(), "heads": wrong}), lite.architecture())


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 torn zip"])
def test_damaged_files_are_one_clear_line(content, tmp_path, capsys):
    path = tmp_path / "x.pth"
    path.write_bytes(content)
    config = tmp_path / "c.yaml"
    config.write_text("model: {variant: vit_lite}\n")
    assert guarded(main, [str(path), "--config", str(config), "--out", str(tmp_path / "o.safetensors")]) == 4
    error = capsys.readouterr().err
    assert error.startswith("error[4]") and str(path) in error and error.count("\n") == 1
    assert not (tmp_path / "o.safetensors").exists()


def lite_state():
    return dict(lite.model().state_dict())


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (lambda s: s.pop("b1.0.mlp.fc1.weight"), "1 missing: b1.0.mlp.fc1.weight"),
        (lambda s: s.update(extra=torch.zeros(1)), "1 unexpected: extra"),
        (lambda s: s.update({"b2.1.bias": torch.zeros(7)}), r"mis-shaped: b2.1.bias \(7,\) for \(192,\)"),
        (lambda s: s["base.cls_token"].fill_(torch.nan), "1 not finite: base.cls_token"),
        (lambda s: s.update({"base.pos_embed": torch.zeros(1, 30, 192)}), "30 tokens.* 22"),
        (lambda s: s.pop("base.sie_embed"), "0 camera embeddings.* 3"),
        (
            lambda s: s.update({"base.blocks.1.attn.qkv.weight": torch.zeros(100, 192)}),
            "3 x 32",
        ),
    ],
)
def test_what_does_not_fit_is_named(fault, text, tmp_path):
    state = lite_state()
    fault(state)
    with pytest.raises(ArtifactError, match=text):
        convert(write(tmp_path / "x.pth", state), lite.architecture())


@pytest.mark.parametrize(("name", "wrong"), [("heads", [6] * 6 + [5]), ("channels", [22] * 6 + [21])])
def test_lists_that_contradict_the_tensors_are_refused(name, wrong, tmp_path):
    data = {"state_dict": lite_state(), "heads": None, "channels": None, name: wrong}
    with pytest.raises(ArtifactError, match=f"`{name}` list"):
        convert(write(tmp_path / "x.pth", data), lite.architecture())


def test_lists_of_full_length_as_resaved_checkpoints_have_them_are_accepted(tmp_path):
    data = {"state_dict": lite_state(), "heads": [np.int64(6)] * 8, "channels": [torch.tensor(22)] * 8}
    assert (
        convert(write(tmp_path / "x.pth", data), lite.architecture()).architecture
        == lite.model().architecture
    )


@pytest.mark.parametrize("mode", ["bypass", "kv"])
def test_saved_models_come_back_the_same(mode, tmp_path):
    model = lite.pruned(mode=mode)
    save_model(model, tmp_path / "m.safetensors", lite.SPEC)
    again, _ = load_model(tmp_path / "m.safetensors")
    images, _, cameras = lite.batch()
    assert torch.allclose(again(images, cameras), model(images, cameras), atol=1e-5)
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in model.state_dict().items())
    assert again.architecture == model.architecture


def test_changed_bytes_are_refused_before_they_are_read(tmp_path):
    path = tmp_path / "m.safetensors"
    save_model(lite.model(), path, lite.SPEC)
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match="sha256 differs"):
        load_model(path)


def test_weights_that_are_not_finite_are_never_written(tmp_path):
    model = lite.model()
    model.b1[0].mlp.fc1.weight.data[3, 3] = torch.inf
    with pytest.raises(GateError, match="b1.0.mlp.fc1.weight"):
        save_model(model, tmp_path / "m.safetensors", lite.SPEC)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "change",
    [
        {"blocks": []},
        {"variant": "vit_huge"},
        {"mode": "sideways"},
        {"neck": "behind"},
        {"surprise": 1},
    ],
)
def test_architectures_that_make_no_sense_are_refused(change):
    with pytest.raises(ArtifactError):
        Architecture.from_json(lite.architecture().to_json() | change)


def test_a_block_never_loses_its_class_token_or_order():
    architecture = lite.architecture()
    for tokens in ((1, 2), (0, 2, 1), (0, 22), ()):
        with pytest.raises(Exception, match="class token|block 0: tokens"):
            architecture.with_blocks(
                (dataclasses.replace(architecture.blocks[0], tokens=tokens), *architecture.blocks[1:])
            )


@pytest.mark.parametrize(
    ("stride", "patches", "group"), [(16, 128, 32), (14, 162, 40), (12, 210, 52), (11, 242, 60)]
)
def test_grids_as_published(stride, patches, group):
    architecture = unpruned("vit_base", stride=stride)
    assert (architecture.patches, architecture.patches // 4) == (patches, group)


@pytest.mark.parametrize(
    "odd",
    [
        torch.zeros(1).expand(200_000_000_000),
        torch.zeros(2, 3).to_sparse(),
        torch.zeros(2, 3, device="meta"),
        torch.zeros(2, 3, dtype=torch.complex64),
        torch.zeros(2, 3).to(torch.float8_e4m3fn),
    ],
    ids=["expanded", "sparse", "meta", "complex", "float8"],
)
def test_a_tensor_that_is_no_plain_array_is_named_before_anything_reads_it(odd, tmp_path):
    state = lite_state()
    key = next(key for key in state if key.endswith("attn.proj.weight"))
    with pytest.raises(ArtifactError, match="attn.proj.weight"):
        convert(write(tmp_path / "x.pth", state | {key: odd}), lite.architecture())


@pytest.mark.parametrize("key", ["base.sie_embed", "classifier.weight"])
def test_a_single_number_in_place_of_a_table_is_named(key, tmp_path):
    with pytest.raises(ArtifactError, match=key):
        convert(write(tmp_path / "x.pth", lite_state() | {key: torch.tensor(3.0)}), lite.architecture())
