"""torch.compile for modules that are timed side by side, with the proof that what ran was compiled.

TorchDynamo keeps what it compiled by the code that it read, at most eight times for the same code; the ninth net of a
process would run eagerly without a word, since all nets share the code of their class. Here every program has code of
its own, and a limit that is reached is an error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch._dynamo
from torch import Tensor, nn
from torch._dynamo.utils import counters

LIMIT = 10_000  # compilations of one piece of code: a net left in the middle goes on in code that all nets share


class NotCompiled(RuntimeError):
    """The net ran, but as the Python that it is; the message says why."""


class Compiled:
    """A module through torch.compile, for inputs of one shape in one mode of gradients.

    Args:
        module: what is compiled on the first call.
        backend: of torch.compile.
    """

    def __init__(self, module: nn.Module, backend: str | Callable[..., Any] = "inductor") -> None:
        config = torch._dynamo.config
        config.recompile_limit = config.accumulated_recompile_limit = LIMIT
        config.fail_on_recompile_limit_hit = True

        def program(x: Tensor) -> Tensor:
            return module(x)

        program.__code__ = program.__code__.replace()  # a copy, that no other program is compiled for
        self.graphs = 0  # 1: all of the module; more: it is left for Python in between; 0: it returns its input
        self._is_warm = False
        self._program = torch.compile(program, dynamic=False, backend=backend)

    def __call__(self, x: Tensor) -> Tensor:
        """Runs it.

        Raises:
            NotCompiled: on the first call, where no graph came of it, or one that is only a part.
        """
        return self._program(x) if self._is_warm else self._first(x)

    def _first(self, x: Tensor) -> Tensor:
        graphs, breaks = counters["stats"]["unique_graphs"], counters["graph_break"].copy()
        y = self._program(x)
        self.graphs = counters["stats"]["unique_graphs"] - graphs
        reasons = [reason.strip().splitlines()[0] for reason in counters["graph_break"] - breaks]
        if self.graphs < 1 + bool(reasons) and y is not x:
            done = "only a part of it compiled" if self.graphs else "nothing of it compiled"
            raise NotCompiled("; ".join([done, *reasons]))
        self._is_warm = True
        return y
