"""What is stated about the input of a foreign model: options into numbers, and numbers into the array that the model gets."""

import numpy as np
import pytest
import torch
from onnx import TensorProto
from torchvision.transforms import Compose, Normalize, ToTensor

from export.adopting.comparison import plausible, same
from export.adopting.foreign import Foreign
from export.adopting.original import own_input
from export.adopting.pixels import CONVENTIONS, IMAGENET, RAW, Pixels, stated_pixels
from runtime.errors import ConfigError
from tests.fakes import foreign as fake

NOTHING = {"color": None, "scale": None, "mean": None, "std": None}


def given(**options):
    return NOTHING | options


def described(layout="nchw", kind=TensorProto.FLOAT):
    return Foreign(None, "", {}, None, "x", "y", kind, layout, None, None, None)


@pytest.mark.parametrize("like", ["osnet", "clipreid"])
def test_the_input_is_that_of_torchvision(like):
    pixels, crops = CONVENTIONS[like].pixels, fake.crops(3)
    expected = torch.stack(
        [Compose([ToTensor(), Normalize(pixels.mean, pixels.std)])(crop) for crop in crops]
    )
    assert np.allclose(own_input(crops, described(), pixels), expected.numpy(), atol=1e-6)


def test_open_model_zoo_gets_blue_first_and_pixels_as_they_are():
    crops = fake.crops(2)
    array = own_input(crops, described(), CONVENTIONS["omz"].pixels)
    assert array.dtype == np.float32 and np.allclose(array[:, 0], crops[..., 2]) and array.max() > 200
    assert np.allclose(own_input(crops, described("nhwc"), CONVENTIONS["omz"].pixels)[..., 2], crops[..., 0])


def test_yolo_and_fastreid_differ_by_a_factor_of_255():
    crops = fake.crops(2)
    yolo, fast = (
        own_input(crops, described(), CONVENTIONS[name].pixels) for name in ("yolo-reid", "fastreid")
    )
    assert np.allclose(255 * yolo, fast, rtol=1e-6) and np.allclose(fast[:, 0], crops[..., 0])


def test_options_replace_single_values_of_a_convention():
    assert stated_pixels("osnet", **given(color="bgr")) == Pixels("bgr", *IMAGENET)
    assert same(stated_pixels("osnet", **given(mean="0", std="1", scale=255)), Pixels("rgb", *RAW))


def test_means_of_pixels_to_255_are_those_of_pixels_to_1():
    big = stated_pixels(
        None, **given(color="rgb", scale=255, mean="123.675,116.28,103.53", std="58.395,57.12,57.375")
    )
    assert same(big, Pixels("rgb", *IMAGENET))


@pytest.mark.parametrize("pixels", plausible(CONVENTIONS["osnet"].pixels), ids=str)
def test_the_options_that_a_message_advises_state_the_same_pixels(pixels):
    words = pixels.options().split()
    values = dict(zip(words[::2], words[1::2]))
    again = stated_pixels(
        None,
        color=values["--color"],
        scale=int(values["--range"]),
        mean=values["--mean"],
        std=values["--std"],
    )
    assert same(again, pixels)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (given(color="rgb"), "--mean"),
        (given(color="rgb", mean="0.5", std="0"), "--std"),
        (given(color="rgb", mean="0.5,0.5", std="1"), "--mean"),
        (given(color="rgb", mean="nan", std="1"), "--mean"),
        (given(color="rgb", mean="red", std="1"), "--mean"),
        (given(color="rgb", mean="123.675", std="58"), "--range 255"),
    ],
)
def test_what_states_no_input_is_refused(options, word):
    with pytest.raises(ConfigError, match=word):
        stated_pixels(None, **options)


def test_a_range_without_numbers_is_refused():
    with pytest.raises(ConfigError, match="--range"):
        stated_pixels("osnet", **given(scale=255))


def test_eight_inputs_are_compared_and_none_twice():
    for convention in CONVENTIONS.values():
        compared = plausible(convention.pixels)
        assert len(compared) == 8 and compared[0] == convention.pixels
        assert not any(same(first, second) for i, first in enumerate(compared) for second in compared[:i])
    assert len(plausible(Pixels("rgb", (0.4, 0.4, 0.4), (0.2, 0.2, 0.2)))) == 9
