"""What the procedural sets of sequences share: seeds, examples in blocks, and the arithmetic of their baselines."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import torch
from torch import Tensor

Examples = tuple[Tensor, Tensor]  # tokens (n, N), targets (n,) or (n, N)

IGNORED = -100  # the target of a place where nothing is asked, cross_entropy's ignore_index
BLOCK = 1000  # examples from one seed, so that more examples begin with the same
COUNTS = {"train": 60_000, "test": 10_000}  # where no count is given


def draw_examples(
    name: str, split: str, count: int | None, length: int, draw: Callable[[torch.Generator, int, int], Examples]
) -> Examples:
    """Examples of a procedural set, the same ones on every machine.

    Args:
        name: of the set; seeds it together with the split.
        split: "train" or "test".
        count: of examples; a larger one begins with the same. None: as `COUNTS` says.
        length: N, in tokens.
        draw: gives, from (generator, n, N), int64 tokens (n, N) and their targets.

    Returns:
        Tokens, uint8 or where those do not suffice int16, (count, N), and int64 targets.

    Raises:
        ValueError: there is no such split.
    """
    if split not in COUNTS:
        raise ValueError(f"split is {split!r}; allowed: {', '.join(COUNTS)}")
    wanted = COUNTS[split] if count is None else count
    blocks = [draw(seeded(f"{name}/{split}/{start}"), BLOCK, length) for start in range(0, max(wanted, 1), BLOCK)]
    tokens, targets = (torch.cat(parts)[:wanted].contiguous() for parts in zip(*blocks, strict=True))
    return narrowed(tokens), targets


def seeded(text: str) -> torch.Generator:
    """A generator whose numbers follow from a text."""
    digest = hashlib.sha256(text.encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def narrowed(tokens: Tensor) -> Tensor:
    """The same tokens in the fewest bytes."""
    return tokens.to(torch.uint8 if tokens.max() < 256 else torch.int16)


def uniform(generator: torch.Generator, classes: int, *shape: int) -> Tensor:
    """Independent numbers 0 to classes - 1, int64."""
    return torch.randint(classes, shape, generator=generator)


def orders(generator: torch.Generator, count: int, length: int) -> Tensor:
    """Random orders of 0 to length - 1, int64 (count, length)."""
    return torch.rand(count, length, generator=generator, dtype=torch.float64).argsort(dim=1)


def counts(symbols: Tensor, kinds: int) -> Tensor:
    """How often each of 0 to kinds - 1 is in each row of symbols (n, k); int64 (n, kinds)."""
    of_rows = torch.zeros(len(symbols), kinds, dtype=torch.int64)
    return of_rows.scatter_add_(1, symbols.long(), torch.ones((), dtype=torch.int64).expand(symbols.shape))


def percent_right(guesses: Tensor, targets: Tensor) -> float:
    """Of the targets that are asked for; guesses broadcast to their shape."""
    asked = targets != IGNORED
    return 100 * float((guesses.expand_as(targets) == targets)[asked].double().mean())


def simplest(train: Examples, test: Examples, classes: int) -> dict[str, float]:
    """Percent right on test of one class drawn at random ("chance"), and of the commonest one ("majority")."""
    targets = train[1]
    commonest = targets[targets != IGNORED].bincount().argmax()
    return {"chance": 100 / classes, "majority": percent_right(commonest, test[1])}
