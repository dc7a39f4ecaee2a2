"""Pre-training beside transformers: `python tests/reliability/text_speed.py OUT`.

Our TextEncoder and `transformers`' model of the same size, BERT's with attention and FNet's with its unscaled DFT, in
turns in one process and in one plain loop: the same tokens, masked language model on 15 % of the places and order of
two sentences, the heads on those places only in both, AdamW, the same dropout (of attention's weights in neither). Ours
also leaves out of its last block what no head asks for, which transformers cannot; `--whole` has it do all. Each
round trains each model for `--steps` steps; printed are tokens a second, and the median ratio with its range over the
rounds. Writes text-speed.json and .md into OUT. The exit code is 1 where a median ratio is below `--least`.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import transformers
from torch import Tensor, nn

from benchmarks.contract.processor import cpu_name
from benchmarks.contract.record import write_json
from benchmarks.machine.device import set_math_mode
from mixers import TextEncoder

MASKED, DROPOUT = 0.15, 0.1
KINDS = {"attention": "attention", "fft": "fft_real(scale=fnet)"}
Forward = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]  # tokens, types, places -> the two logits


class Ours(nn.Module):
    """A TextEncoder with a head for the order of sentences."""

    def __init__(self, kind: str, asked: argparse.Namespace) -> None:
        super().__init__()
        fnet: dict[str, Any] = {} if kind == "attention" else {"projection": True, "activation": "gelu_new"}
        shape = {"vocabulary": asked.vocabulary, "length": asked.length, "dim": asked.dim, "depth": asked.depth}
        self.encoder = TextEncoder(KINDS[kind], dropout=DROPOUT, **shape, **fnet)
        self.order = nn.Linear(asked.dim, 2)
        self.whole = asked.whole

    def forward(self, tokens: Tensor, types: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
        if self.whole:
            hidden = self.encoder(tokens, types)
            return self.encoder.predict(hidden, at), self.order(self.encoder.pool(hidden))
        hidden = self.encoder(tokens, types, F.pad(at, (1, 0)))  # the first token too, for the order
        return self.encoder.predict(hidden[:, 1:]), self.order(self.encoder.pool(hidden))


class Theirs(nn.Module):
    """BertForPreTraining or FNetForPreTraining, whose head of predictions sees the masked places alone."""

    def __init__(self, kind: str, asked: argparse.Namespace) -> None:
        super().__init__()
        sizes: dict[str, Any] = {
            "vocab_size": asked.vocabulary,
            "hidden_size": asked.dim,
            "num_hidden_layers": asked.depth,
            "intermediate_size": 4 * asked.dim,
            "max_position_embeddings": asked.length,
            "type_vocab_size": 2,
            "hidden_dropout_prob": DROPOUT,
            "pad_token_id": 0,
        }
        if kind == "attention":
            heads = TextEncoder("attention", vocabulary=2, length=1, dim=asked.dim, depth=1).mixers[0].heads
            attention = {"num_attention_heads": heads, "attention_probs_dropout_prob": 0.0}
            self.model = transformers.BertForPreTraining(transformers.BertConfig(**sizes, **attention))
            self.base = self.model.bert
        else:
            self.model = transformers.FNetForPreTraining(transformers.FNetConfig(**sizes))
            self.base = self.model.fnet

    def forward(self, tokens: Tensor, types: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
        hidden, pooled = self.base(tokens, token_type_ids=types, return_dict=False)[:2]
        masked = hidden.gather(1, at[..., None].expand(-1, -1, hidden.shape[-1]))
        return self.model.cls.predictions(masked), self.model.cls.seq_relationship(pooled)


def batch(asked: argparse.Namespace) -> tuple[Tensor, ...]:
    """Tokens, types, masked places, what stood there, and the order of the two halves."""
    generator = torch.Generator().manual_seed(0)
    shape = asked.batch, asked.length
    tokens = torch.randint(5, asked.vocabulary, shape, generator=generator)
    types = (torch.arange(asked.length) >= asked.length // 2).long().expand(shape).contiguous()
    at = torch.rand(shape, generator=generator).argsort(1)[:, : max(1, round(MASKED * asked.length))]
    order = torch.randint(0, 2, (asked.batch,), generator=generator)
    drawn = tokens.scatter(1, at, 3), types, at, tokens.gather(1, at), order
    return tuple(tensor.to(asked.device) for tensor in drawn)


def stepper(net: nn.Module, asked: argparse.Namespace) -> Callable[[], Tensor]:
    """A training step on the one batch; gives the loss."""
    net = net.to(asked.device).train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4)
    tokens, types, at, masked, order = batch(asked)

    def step() -> Tensor:
        with torch.autocast(asked.device, torch.bfloat16, enabled=asked.bf16):
            predictions, ordered = net(tokens, types, at)
            loss = F.cross_entropy(predictions.flatten(0, 1), masked.flatten()) + F.cross_entropy(ordered, order)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def tokens_per_s(step: Callable[[], Tensor], asked: argparse.Namespace) -> float:
    step().item()  # what was under way is over, and caches are warm
    started = time.perf_counter()
    for _ in range(asked.steps):
        loss = step()
    loss.item()
    return asked.steps * asked.batch * asked.length / (time.perf_counter() - started)


def measure(asked: argparse.Namespace) -> dict[str, Any]:
    """Of each kind tokens a second of both, round by round, and their ratio."""
    steppers: dict[str, Callable[[], Tensor]] = {}
    for kind in KINDS:
        steppers[f"{kind}, ours"], steppers[f"{kind}, theirs"] = (
            stepper(net(kind, asked), asked) for net in (Ours, Theirs)
        )
    rates: dict[str, list[float]] = {name: [] for name in steppers}
    for number in range(asked.rounds):
        for name in [*steppers] if number % 2 == 0 else [*steppers][::-1]:
            rates[name].append(tokens_per_s(steppers[name], asked))
    found: dict[str, Any] = {"tokens_per_s": rates}
    for kind in KINDS:
        pairs = zip(rates[f"{kind}, ours"], rates[f"{kind}, theirs"], strict=True)
        ratios = [own / other for own, other in pairs]
        found[f"{kind}_ratio"] = {"median": statistics.median(ratios), "least": min(ratios), "most": max(ratios)}
    return found


def text_of(found: dict[str, Any]) -> str:
    head = "| mixer | ours, tokens/s | transformers, tokens/s | ratio (range over rounds) |"
    rows = []
    for kind, mixer in KINDS.items():
        own, other = (statistics.median(found["tokens_per_s"][f"{kind}, {whose}"]) for whose in ("ours", "theirs"))
        ratio = found[f"{kind}_ratio"]
        ends = f"{ratio['median']:.2f} ({ratio['least']:.2f} to {ratio['most']:.2f})"
        rows.append(f"| {mixer} | {own:,.0f} | {other:,.0f} | {ends} |")
    machine = ", ".join(f"{name} {value}" for name, value in found["machine"].items())
    sizes = ", ".join(f"{name} {value}" for name, value in found["sizes"].items())
    lines = ["# Pre-training beside transformers", "", f"{sizes}; {machine}", "", head, "|---|---|---|---|", *rows, ""]
    return "\n".join(lines)


def machine(asked: argparse.Namespace) -> dict[str, Any]:
    name = cpu_name() if asked.device == "cpu" else torch.cuda.get_device_name()
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    return {"device": name, "threads": torch.get_num_threads(), **versions, "python": platform.python_version()}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path)
    sizes = {"dim": 128, "depth": 2, "length": 128, "vocabulary": 261, "batch": 32, "rounds": 15, "steps": 5}
    for name, value in {**sizes, "threads": 1}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--bf16", action="store_true", help="bfloat16 autocast")
    parser.add_argument("--whole", action="store_true", help="our last block computes every place, as theirs")
    parser.add_argument("--least", type=float, default=1.0, help="ratio that is asked for")
    asked = parser.parse_args(arguments)
    set_math_mode(asked.threads)
    torch.manual_seed(0)
    found = measure(asked)
    found |= {"sizes": {name: getattr(asked, name) for name in (*sizes, "bf16", "whole")}, "machine": machine(asked)}
    asked.out.mkdir(parents=True, exist_ok=True)
    write_json(asked.out / "text-speed.json", found, indent=1)
    text = text_of(found)
    (asked.out / "text-speed.md").write_text(text, encoding="utf-8")
    print(text)
    return int(any(found[f"{kind}_ratio"]["median"] < asked.least for kind in KINDS))


if __name__ == "__main__":
    sys.exit(main())
