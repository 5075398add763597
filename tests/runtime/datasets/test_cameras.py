"""Camera ids index the model's table only where they mean its cameras."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.datasets.cameras import camera_ids, dataset_name, own_dataset, resolve_policy
from runtime.errors import ConfigError
from runtime.options.argument_types import camera_policy
from runtime.spec import InputSpec

SIX = InputSpec(camera="input", cameras=6, dataset="market1501")


def test_on_the_training_data_set_every_image_gets_its_camera() -> None:
    ids, note = camera_ids([0, 5, 3], SIX, dataset="market1501")
    assert ids is not None and ids.tolist() == [0, 5, 3] and ids.dtype == np.int64
    assert note is None


@pytest.mark.parametrize("dataset", ["occluded_duke", "anny", None])
def test_on_any_other_data_the_mean_is_used_and_said(dataset: str | None) -> None:
    ids, note = camera_ids([0, 5, 3], SIX, dataset=dataset)
    assert ids is not None and ids.tolist() == [6, 6, 6]
    assert note is not None and "mean" in note and "market1501" in note and "camera='input'" in note


def test_a_model_of_unknown_training_data_gets_the_mean() -> None:
    ids, _ = camera_ids([1], dataclasses.replace(SIX, dataset=None), dataset=None)
    assert ids is not None and ids.tolist() == [6]


def test_unknown_and_out_of_range_cameras_get_the_mean_and_are_counted() -> None:
    ids, note = camera_ids([0, -1, 6, 5, 99], SIX, dataset="market1501")
    assert ids is not None and ids.tolist() == [0, 6, 6, 5, 6]
    assert note is not None and "3 of 5" in note


@pytest.mark.parametrize(
    ("policy", "expected"),
    [("input", [0, 6, 5]), ("mean", [6] * 3), ("none", [7] * 3), (4, [4] * 3), (0, [0] * 3)],
)
@pytest.mark.parametrize("dataset", ["market1501", "anny", None])
def test_an_override_wins_on_every_data_set(
    policy: str | int, expected: list[int], dataset: str | None
) -> None:
    ids, _ = camera_ids([0, -1, 5], SIX, policy=policy, dataset=dataset)
    assert ids is not None and ids.tolist() == expected


@given(
    camids=st.lists(st.integers(-1, 40), max_size=20),
    policy=st.sampled_from([None, "input", "mean", "none", 0, 5]),
    dataset=st.sampled_from([None, "market1501", "anny"]),
)
def test_no_answer_ever_leaves_the_table(
    camids: list[int], policy: str | int | None, dataset: str | None
) -> None:
    ids, _ = camera_ids(camids, SIX, policy=policy, dataset=dataset)
    assert ids is not None and len(ids) == len(camids)
    assert ((ids >= 0) & (ids <= SIX.no_camera)).all()


@pytest.mark.parametrize("policy", [6, 7, -1])
def test_a_camera_that_the_model_lacks_is_a_usage_error(policy: int) -> None:
    with pytest.raises(ConfigError, match="0 to 5"):
        camera_ids([0], SIX, policy=policy)


@pytest.mark.parametrize("baked", ["none", "mean", 3])
def test_a_model_without_camera_input_gets_none_and_refuses_another_policy(baked: str | int) -> None:
    spec = InputSpec(camera=baked, cameras=6, dataset="market1501")
    assert camera_ids([0, 1], spec, dataset="market1501") == (None, None)
    assert camera_ids([0, 1], spec, policy=baked) == (None, None)
    assert resolve_policy(spec, policy=None, dataset=None) == baked
    with pytest.raises(ConfigError, match="fixed"):
        camera_ids([0, 1], spec, policy="input")
    with pytest.raises(ConfigError, match="fixed"):
        camera_ids([0, 1], spec, policy=5)


def test_a_layout_alone_proves_a_data_set_only_for_our_own() -> None:
    complaint = ["query has 240 images, the published one 3368"]
    assert dataset_name("market1501", []) == "market1501"
    assert dataset_name("market1501", complaint) is None
    assert dataset_name("anny", complaint) == "anny"
    assert dataset_name(None, []) is None


def test_policies_are_parsed_or_refused() -> None:
    assert [camera_policy(text) for text in ("input", "mean", "none", "0", "12")] == [
        "input",
        "mean",
        "none",
        0,
        12,
    ]
    for text in ("", "-1", "1.5", "all", "\u0662"):
        with pytest.raises(ConfigError, match="--camera"):
            camera_policy(text)


@pytest.mark.parametrize(("cameras", "own"), [(6, "market1501"), (8, None), (5, None)])
def test_a_table_of_another_size_was_not_trained_on_the_data_set_it_names(
    cameras: int, own: str | None
) -> None:
    spec = InputSpec(camera="input", cameras=cameras, dataset="market1501")
    assert own_dataset(spec) == own
    ids, note = camera_ids([0, 1], spec, dataset="market1501")
    assert ids is not None and ids.tolist() == ([0, 1] if own else [cameras, cameras])
    assert (note is None) == (own is not None)


def test_a_model_without_cameras_is_not_told_to_be_exported_with_them() -> None:
    with pytest.raises(ConfigError, match="no camera embedding"):
        resolve_policy(InputSpec(), policy="input", dataset=None)
