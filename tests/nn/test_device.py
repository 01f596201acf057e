"""Devices: auto finds one, an absent one is named.

python -m pytest tests/nn/test_device.py
"""

from __future__ import annotations

import pytest
import torch

from septet.core.errors import ComponentError
from septet.nn.device import bfloat16_is_native, describe, pick_device


def test_auto_finds_a_device_that_computes():
    device = pick_device("auto")
    assert (torch.ones(2, device=device) + 1).sum().item() == 4


def test_unknown_and_absent_devices_are_named():
    with pytest.raises(ComponentError, match="no device 'tpu'"):
        pick_device("tpu")
    if not torch.cuda.is_available():
        with pytest.raises(ComponentError, match="this machine has none"):
            pick_device("cuda")


def test_facts_are_plain_values():
    facts = describe("cpu")
    assert facts["device"] == "cpu"
    assert facts["bfloat16"] == bfloat16_is_native(torch.device("cpu"))
