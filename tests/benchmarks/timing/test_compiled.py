from __future__ import annotations

import pytest
import torch
import torch._dynamo
from torch import nn

from benchmarks.timing import compiled
from benchmarks.timing.compiled import Compiled, NotCompiled
from mixers import MixerNet, create_mixer, list_mixers

CONFIG = ("recompile_limit", "accumulated_recompile_limit", "fail_on_recompile_limit_hit")


class Counting:
    """A compiler that runs what it is given as it is, and counts its runs."""

    def __init__(self) -> None:
        self.runs = 0

    def __call__(self, graph: torch.fx.GraphModule, inputs):
        def run(*arguments):
            self.runs += 1
            return graph(*arguments)

        return run


class Breaks(nn.Module):
    def forward(self, x):
        y = x + 1
        torch._dynamo.graph_break()
        return y * 2


class BreaksInALoop(nn.Module):
    def forward(self, x):
        for _ in range(3):
            x = x + 1
            torch._dynamo.graph_break()
        return x


class EndsInPython(nn.Module):
    def forward(self, x):
        y = x * 2
        print(end="")
        return y


@pytest.fixture(autouse=True)
def dynamo():
    """As it was before, since other tests compile too."""
    torch._dynamo.reset()
    before = {name: getattr(torch._dynamo.config, name) for name in CONFIG}
    yield
    for name, value in before.items():
        setattr(torch._dynamo.config, name, value)
    torch._dynamo.reset()


@pytest.mark.slow
def test_every_net_and_mode_of_a_process_runs_as_a_graph_of_its_own():
    names = list_mixers()[::2]
    assert len(names) > 10  # eight is PyTorch's limit
    x = torch.randn(2, 3, 8, 8)
    programs = []
    for name in names:
        net = MixerNet(name, img_size=8, patch_size=1, dim=8, depth=1)
        for grad in (False, True):
            counting = Counting()
            program = Compiled(net, backend=counting)
            with torch.set_grad_enabled(grad):
                y = program(x)
                torch.testing.assert_close(y, net(x))
            assert (program.graphs, counting.runs) == (1, 1), name
            programs.append((program, counting, grad))
    for program, counting, grad in programs:  # side by side, after all others have compiled
        with torch.set_grad_enabled(grad):
            program(x)
        assert counting.runs == 2


def test_a_net_that_is_left_in_the_middle_says_in_how_many_graphs():
    program = Compiled(Breaks(), backend="eager")
    assert program(torch.ones(3)).tolist() == [4.0] * 3
    assert program.graphs == 2


def test_a_mixer_that_returns_its_input_has_nothing_to_compile():
    x = torch.randn(2, 8, 4, 4)
    program = Compiled(create_mixer("conv1x1", 8, (4, 4)), backend="eager")
    assert program(x) is x and program(x) is x
    assert program.graphs == 0


@pytest.mark.parametrize(
    ("module", "message"),
    [(BreaksInALoop(), "nothing of it compiled; .*graph_break"), (EndsInPython(), "only a part of it compiled; .")],
)
def test_what_ran_eagerly_has_not_run_compiled(module, message):
    with pytest.raises(NotCompiled, match=message):
        Compiled(module, backend="eager")(torch.ones(3))


def test_a_limit_that_is_reached_is_an_error(monkeypatch):
    monkeypatch.setattr(compiled, "LIMIT", 2)
    with pytest.raises(torch._dynamo.exc.FailOnRecompileLimitHit):
        for size in range(1, 6):  # all go on, after their break, in the same code
            Compiled(Breaks(), backend="eager")(torch.ones(size))
