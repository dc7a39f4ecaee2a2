"""Measurements that may fail: the one that does is told apart from the others, which are measured."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from benchmarks.contract.errors import UserError
from benchmarks.studies import attempt
from benchmarks.studies.attempt import WrongOutput, hold_to, interleaved_or_why, is_the_users, timed_call, why
from mixers import MixerError, UnsupportedSize


@pytest.mark.parametrize("at", [1, 2, 3, 5], ids="on its call {}".format)
def test_a_call_that_fails_at_any_time_is_dropped_and_the_others_are_timed_anew(at: int) -> None:
    made: list[str] = []

    def bad() -> None:
        made.append("bad")
        if made.count("bad") >= at:
            raise torch.OutOfMemoryError("CUDA out of memory")

    calls = {"a": lambda: made.append("a"), "bad": bad, "b": lambda: made.append("b")}
    times, failures = interleaved_or_why(calls, 4, device="cpu", predict=False)
    assert failures == {"bad": ("oom", "CUDA out of memory")}
    assert {name: len(values) for name, values in times.items()} == {"a": 4, "b": 4}


def test_of_calls_that_all_fail_each_says_why() -> None:
    def call(error: Exception):
        def failing() -> None:
            raise error

        return failing

    calls = {"a": call(RuntimeError("No available kernel. Aborting execution.")), "b": call(ValueError("at /x/y.py"))}
    times, failures = interleaved_or_why(calls, 1, device="cpu")
    assert times == {}
    assert failures == {
        "a": ("unsupported", "No available kernel. Aborting execution."),
        "b": ("error", "ValueError: at y.py (test_attempt.py:33)"),
    }


def test_who_interrupts_is_obeyed() -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interleaved_or_why({"a": interrupted}, 1, device="cpu", predict=False)


def test_a_call_that_a_cpu_has_no_memory_for_is_never_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempt, "free_bytes", lambda device: 100_000)
    x, made = torch.ones(100, 100), []
    calls = {"large": lambda: made.append(type(torch.cat([x, x, x]))), "small": lambda: x[:10] + 1}
    times, failures = interleaved_or_why(calls, 2, device="cpu")
    assert set(times) == {"small"} and failures["large"][0] == "oom" and "120,000 bytes" in failures["large"][1]
    assert torch.Tensor not in made  # but once on fake tensors


def test_prediction_leaves_nothing_behind_in_what_is_timed() -> None:
    x = torch.randn(2, 4)
    call = timed_call(nn.Linear(4, 4), [x], "forward_backward")
    times, failures = interleaved_or_why({"a": call}, 1, device="cpu")
    assert failures == {} and len(times["a"]) == 1 and not x.requires_grad


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "oom"),
        (MemoryError("asks for 3 bytes"), "oom"),
        (RuntimeError("CUDA error: out of memory"), "oom"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), "oom"),
        (NotImplementedError("Unsupported dtype BFloat16"), "unsupported"),
        (RuntimeError("\"angle_cpu\" not implemented for 'ComplexHalf'"), "unsupported"),
        (UnsupportedSize("sides of a power of two"), "unsupported"),
        (WrongOutput("dct differs"), "error"),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), "error"),
    ],
)
def test_an_error_has_a_status_and_a_reason_of_one_line(error: Exception, status: str) -> None:
    found, reason = why(error)
    assert found == status and str(error) in reason and "\n" not in reason


def test_a_mistake_of_the_user_is_no_row() -> None:
    assert is_the_users(UserError("x")) and is_the_users(MixerError("x"))
    assert not is_the_users(UnsupportedSize("x")) and not is_the_users(RuntimeError("x"))


def test_outputs_are_held_to_what_their_precision_allows() -> None:
    wanted = torch.randn(100, dtype=torch.float64)
    for dtype, allowed in attempt.LARGEST_ERROR.items():
        hold_to("x", wanted.to(dtype), wanted)
        with pytest.raises(WrongOutput, match="x differs from its definition by"):
            hold_to("x", (wanted * (1 + 2 * allowed)).to(dtype), wanted)
    with pytest.raises(WrongOutput):
        hold_to("x", torch.full((100,), torch.nan), wanted)
    with pytest.raises(WrongOutput, match=r"\[1, 100\]"):
        hold_to("x", wanted[None].float(), wanted)
