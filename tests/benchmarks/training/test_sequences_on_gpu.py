"""What only a GPU shows of sequences: the same numbers as on a CPU, and steps that are captured with their padding."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch

from benchmarks.contract.trial import Trial
from benchmarks.machine.device import set_math_mode
from benchmarks.tasks.task import load_data
from benchmarks.training.train import train
from mixers import MixerNet

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]
MIXERS = ("attention", "linear_attention", "performer", "dct", "fft_real", "linear_fnet", "conv1x1")
NET = {"norm": "token", "positions": "learned", "coordinates": False, "dim": 32, "depth": 2}
RECIPE = {"epochs": 3, "lr": 3e-3, "weight_decay": 0.1, "warmup_epochs": 0.3, "label_smoothing": 0.0, "batch_size": 64}
RECIPE |= {"augment": "none", "train_images": 1000, "device": "cuda"}


@pytest.mark.parametrize("mixer", MIXERS)
def test_tokens_with_padding_give_what_they_give_on_a_cpu(mixer: str) -> None:
    options = {"norm": "token", "positions": "learned", "coordinates": False}
    net = MixerNet(mixer, vocabulary=20, length=48, padding=True, num_classes=5, dim=32, depth=2, **options).eval()
    tokens = torch.randint(1, 20, (6, 48))
    for row, length in enumerate((48, 40, 17, 5, 1, 48)):
        tokens[row, length:] = 0
    expected = net(tokens)
    set_math_mode(torch.get_num_threads())  # convolutions take TF32 otherwise
    found = copy.deepcopy(net).cuda()(tokens.cuda())
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    "changes", [{}, {"padded_length": 48}, {"pretrain": "own"}], ids=["plain", "padded", "pretrain"]
)
def test_a_step_of_sequences_is_captured_and_learns(changes, precision, tmp_path) -> None:
    one = Trial(kind="accuracy", mixer="attention", dataset="reverse", length=16, precision=precision, **NET, **RECIPE)
    one = dataclasses.replace(one, **changes)
    outcome = train(one, load_data(one, tmp_path, "cuda"), tmp_path / "c.pt")
    assert outcome.metrics["step"] == "graph"
    losses = [row["train_loss"] for row in outcome.history if row.get("phase") != "pretrain"]
    assert losses[-1] < losses[0]
