"""The atlas: how far and how evenly one token's change spreads over the others.

Influence. For a map f from tokens to tokens, (C, H, W) -> (C', H, W), the squared influence of token i on token j is

    S_i[j] = mean over images of || d f(x)[:, j] / d x[:, i] ||_F^2,

the squared Frobenius norm of a C' x C block of the Jacobian. It is exact: one Jacobian-vector product for each of the
C unit vectors at token i. A map shows sqrt(S_i[j]).

Two functions f are looked at, each before and after training:

    layer   the mixer of the first block alone, at the input that it has in the net: its norm is not in the map
    net     from the stem's output to the last feature map, `forward_features` without the stem

Numbers, with p_j = S_i[j] / sum_k S_i[k], N tokens and d the Euclidean distance on the grid in tokens:

    reach          sum_j p_j d(i, j) / mean_j d(i, j); 0: the change stays, 1: as far as a perfectly even map
    evenness       1 / (N sum_j p_j^2), from 1 / N (all on one token) to 1 (the same on each)
    rank           share of the singular values of the layer's C' N x C N Jacobian J above 1e-5 of the largest
    orthogonality  (tr G)^2 / (C N tr G^2) with G = J^T J, that is (sum s^2)^2 / (C N sum s^4) over the singular
                   values: 1 if and only if G = c I, for a projection its rank

Reach and evenness are means over several tokens i; rank and orthogonality are of the first image, in float64. A token
whose S_i sums to less than 1e-9, which is float32's rounding, has no influence: its map is zero, and it has no part in
the means. Im F has such tokens.

A sequence is a grid of one row, its padding in it as any token; positions stand before both functions.

The nets are those of the benchmark, whose norm takes its statistics over the image. These carry a trace of every token
to every other whatever the mixer does, so in the maps of the net they are held fixed, at what they are for the image:
mean and variance count as constants of d f. What a map shows then came through the mixers. The norms inside a mixer are
its own and are differentiated as they are.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.contract.errors import UserError, one_line, place_of
from benchmarks.contract.facts.datasets import DATASETS, task_name
from benchmarks.contract.record import Record, code_version, now
from benchmarks.contract.trial import Trial, flag
from benchmarks.contract.words import counted
from benchmarks.machine.device import set_math_mode
from benchmarks.machine.environment import environment
from benchmarks.plan.trials import Plan, Request
from benchmarks.sources import NETS
from benchmarks.studies.atlas.record import FOLDER, SCHEMA_VERSION, AtlasRecord
from benchmarks.sweep.run import Runner
from benchmarks.tasks.sequences.parts.towers import TwoTowers
from benchmarks.tasks.task import build_net, load_data, task_of
from mixers import MixerNet

IMAGES = 4  # held-out images to average over
SOURCES = 8  # tokens whose influence is averaged in the numbers, the centre first
NOTHING = 1e-9  # a sum of squared influence that is rounding
RANK_TOLERANCE = 1e-5  # of the largest singular value; float32 matrices are accurate to 1e-7
DENSE_INPUTS = 4096  # C N up to which the whole Jacobian of a layer is made
BATCH_ELEMENTS = 2**16  # numbers in one batch of tangents; what a layer makes of it stays in the cache

log = logging.getLogger(__name__)

Function = Callable[[Tensor], Tensor]


def measure_atlas(request: Request, retry: Sequence[str] = ()) -> list[AtlasRecord]:
    """Trains every mixer asked for once and records its maps in RESULTS/atlas; what is there is not done again.

    Training runs, with their records and weights, are kept in the same folder, apart from the suite's own.

    Args:
        request: all registered mixers where it names none, the quick profile where it names none.
        retry: statuses that are measured again although they have a record.

    Raises:
        UserError: the request is for several seeds or sizes, or not allowed otherwise; or there is no data.
    """
    trials = atlas_trials(request)
    folder = request.results / FOLDER
    runner = Runner(folder, request.data_dir, (*retry, "ok"))  # "ok": where only the weights are gone
    found = {trial: _find(trial, folder, retry) for trial in trials}
    todo = [trial for trial, record in found.items() if record is None]
    log.info("atlas: %s, %d already there", counted(len(trials), "mixer"), len(trials) - len(todo))
    trained = {trial: record for trial in todo if (record := _trained(trial, folder)) is not None}
    fresh = [trial for trial in todo if trial not in trained]
    if fresh:
        trained |= {result.record.trial: result.record for result in runner.run(fresh)}
    if todo:
        set_math_mode(todo[0].threads)
        images = held_out_images(todo[0], request.data_dir)
    for number, trial in enumerate(todo, 1):
        made = _measure(trial, trained[trial], _weights(trial, folder), images)
        made.save(folder / "maps")
        found[trial] = made
        log.info("  maps %d of %d: %s: %s", number, len(todo), trial.mixer, made.reason or made.status)
    return [record for record in found.values() if record is not None]


def atlas_trials(request: Request) -> list[Trial]:
    """The training runs behind an atlas, one a mixer.

    Raises:
        UserError: several seeds, sizes or lengths were asked for, or text; or the request is not allowed otherwise.
    """
    for name in ("seed", "image_size", "length"):
        values = getattr(request, name)
        if values is not None and len(values) > 1:
            raise UserError(f"{flag(name)} is {','.join(map(str, values))}; an atlas takes one, such as {values[0]}")
    if request.dataset in DATASETS and (task := task_name(request.dataset)) in NETS:
        allowed = ", ".join(name for name, info in DATASETS.items() if info.task not in NETS)
        raise UserError(
            f"--dataset is {request.dataset!r}, of {task}, whose net an atlas cannot draw; allowed: {allowed}; or your "
            "own images"
        )
    request = request.but(mixer=request.mixer or "*", profile=request.profile or "quick")
    if (
        request.dataset is None and request.length is None and request.profile == "quick"
    ):  # whose grid is large enough for a map
        request = request.but(dataset="constellations")
    return Plan(request).accuracy(all_seeds=False)


def held_out_images(trial: Trial, data_dir: Path) -> Tensor:
    """The first `IMAGES` held-out images, as the net sees them: float32 (n, 3, H, W); of sequences int64 (n, N)."""
    data = load_data(trial, data_dir, "cpu")
    return task_of(trial).augment(trial).prepare(data.val.inputs[:IMAGES])


def atlas_id(trial: Trial) -> str:
    """16 hexadecimal digits that stand for a trial's maps."""
    content = {"trial": trial.id(), "images": IMAGES, "sources": SOURCES, "schema_version": SCHEMA_VERSION}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def source_tokens(size: tuple[int, int], seed: int) -> list[int]:
    """The token before the centre, row (H - 1) // 2 and column (W - 1) // 2, and others drawn from the seed.

    There are `SOURCES` in all, or as many as tokens.
    """
    height, width = size
    # not H // 2: that token is its own mirror image, and a part of its Fourier transform zero
    centre = (height - 1) // 2 * width + (width - 1) // 2
    drawn = torch.randperm(height * width, generator=torch.Generator().manual_seed(seed)).tolist()
    return [centre, *(token for token in drawn if token != centre)][:SOURCES]


def push(function: Function, x: Tensor, tangents: Tensor) -> Tensor:
    """Jacobian-vector products of one image's function: x (C, H, W), tangents (T, C, H, W) -> (T, C', H, W).

    The image is repeated along the batch, each copy with its own tangent. By backward over backward: forward mode
    would need a rule in every mixer, the fused attention and the real FFTs have none.
    """
    batch = max(1, BATCH_ELEMENTS // x.numel())
    with sdpa_kernel(SDPBackend.MATH):
        parts = [
            torch.autograd.functional.jvp(function, x.expand(len(part), *x.shape).contiguous(), part)[1]
            for part in tangents.split(batch)
        ]
    return torch.cat(parts)


def squared_influence(function: Function, images: Tensor, sources: Sequence[int]) -> Tensor:
    """S as this file's docstring defines it: images (n, C, H, W) -> (sources, H, W)."""
    count, dim, height, width = images.shape
    tangents = unit_tangents(dim, (height, width), sources).to(images.dtype)
    total = torch.zeros(len(sources), height, width, dtype=images.dtype)
    for x in images:
        total += push(function, x, tangents).square().sum(1).unflatten(0, (len(sources), dim)).sum(1)
    total[total.sum((1, 2)) < NOTHING * count] = 0
    return total / count


def unit_tangents(dim: int, size: tuple[int, int], tokens: Sequence[int]) -> Tensor:
    """The unit vectors of every channel at each of the tokens: (tokens * dim, dim, H, W)."""
    height, width = size
    tangents = torch.zeros(len(tokens), dim, dim, height * width)
    for position, token in enumerate(tokens):
        tangents[position, :, :, token] = torch.eye(dim)
    return tangents.reshape(-1, dim, height, width)


def reach(squared: Tensor, source: int) -> float:
    """Mean distance of the squared influence (H, W) of one token, over that of an even map; NaN for zero."""
    height, width = squared.shape
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    distance = torch.hypot((rows - source // width).double(), (columns - source % width).double())
    if squared.numel() == 1:
        return math.nan
    return ((squared * distance).sum() / squared.sum() / distance.mean()).item()


def evenness(squared: Tensor) -> float:
    """Participation ratio of a squared influence (H, W) over the tokens, as a share of them; NaN for zero."""
    return (squared.sum().square() / squared.square().sum() / squared.numel()).item()


def layer_jacobian(function: Function, x: Tensor) -> Tensor:
    """The transposed Jacobian of a layer at one image (C, H, W): (C N, C' N), row after row token by token."""
    dim, height, width = x.shape
    tangents = unit_tangents(dim, (height, width), range(height * width)).to(x.dtype)
    return push(function, x, tangents).flatten(1)


def rank_and_orthogonality(transposed: Tensor) -> tuple[float, float]:
    """Both from J^T (C N, C' N); orthogonality is NaN for zero."""
    gram = transposed @ transposed.mT
    squares = torch.linalg.eigvalsh(gram)
    inputs = len(gram)
    largest = squares[-1].item()
    rank = int((squares > RANK_TOLERANCE**2 * largest).sum()) if largest > 0 else 0
    trace, trace_of_square = gram.trace().item(), gram.square().sum().item()
    return rank / inputs, trace**2 / (inputs * trace_of_square) if trace_of_square else math.nan


def look(
    net: MixerNet | TwoTowers, images: Tensor, sources: Sequence[int]
) -> dict[str, tuple[Tensor, dict[str, float | None]]]:
    """Map (H, W) and numbers of "layer" and "net" as the net is now.

    Raises:
        ValueError: an influence is not finite.
    """
    if isinstance(net, TwoTowers):
        net, images = net.tower, images[:, 0]  # of two documents the first
    net.eval()
    inputs: list[Tensor] = []
    mixer = net.mixers[0]
    hook = mixer.register_forward_pre_hook(lambda _, args: inputs.append(args[0]))
    with torch.no_grad():
        tokens = net._tokens(images)
        net.forward_features(images)
    hook.remove()
    functions: dict[str, tuple[Function, Tensor]] = {
        "layer": (mixer, inputs[0]),
        "net": (lambda x: net.norm(net.blocks(x)), tokens),
    }
    seen: dict[str, tuple[Tensor, dict[str, float | None]]] = {}
    for name, (function, x) in functions.items():
        with fixed_statistics(net):
            squared = squared_influence(function, x, sources)
        if not squared.isfinite().all():
            raise ValueError(f"an influence of the {name} is not finite")
        pairs = list(zip(squared, sources, strict=True))
        numbers: dict[str, float | None] = {
            "reach": _mean([reach(part, source) for part, source in pairs]),
            "evenness": _mean([evenness(part) for part in squared]),
            "rank": None,
            "orthogonality": None,
        }
        if name == "layer" and x[0].numel() <= DENSE_INPUTS:
            jacobian = layer_jacobian(copy.deepcopy(mixer).double(), x[0].double())
            rank, orthogonality = rank_and_orthogonality(jacobian)
            numbers |= {"rank": rank, "orthogonality": _mean([orthogonality])}
        seen[name] = squared[0].sqrt(), numbers
    return seen


@contextlib.contextmanager
def fixed_statistics(net: MixerNet) -> Iterator[None]:
    """While active, no derivative goes through the statistics over the image of the backbone's norms."""
    own = {module for mixer in net.mixers for module in mixer.modules()}
    norms = [module for module in net.modules() if isinstance(module, nn.GroupNorm) and module not in own]
    hooks = [norm.register_forward_hook(_with_constant_statistics) for norm in norms]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _with_constant_statistics(norm: nn.GroupNorm, inputs: tuple[Tensor], output: Tensor) -> Tensor:
    """What a norm over (C, H, W) puts out, its mean and variance cut out of the graph."""
    (x,) = inputs
    variance, mean = torch.var_mean(x.detach(), (1, 2, 3), correction=0, keepdim=True)
    normed = (x - mean) * torch.rsqrt(variance + norm.eps)
    return normed * norm.weight[:, None, None] + norm.bias[:, None, None]


def _measure(trial: Trial, trained: Record, weights: Path, images: Tensor) -> AtlasRecord:
    """The maps of one mixer, those of the untrained net also where training failed."""
    started, status, reason = now(), trained.status, trained.reason
    sources = source_tokens(trial.grid, trial.seed)
    maps: dict[str, list[list[float]]] = {}
    numbers: dict[str, dict[str, float | None]] = {}
    try:
        for state in ("untrained", "trained") if status == "ok" else ("untrained",) if status != "unsupported" else ():
            net = build_net(trial)
            if state == "trained":
                net.load_state_dict(safetensors.torch.load_file(weights))
            for name, (influence, found) in look(net, images, sources).items():
                maps[f"{name}_{state}"] = [[_rounded(value) for value in row] for row in influence.tolist()]
                numbers[f"{name}_{state}"] = {
                    key: None if value is None else _rounded(value) for key, value in found.items()
                }
    except Exception as error:  # a plug-in may raise anything
        if status == "ok":
            status, reason = "error", f"{type(error).__name__}: {one_line(error)} ({place_of(error)})"
    top1 = trained.metrics.get("val_top1_percent")
    return AtlasRecord(
        id=atlas_id(trial),
        status=status,
        reason=reason,
        trial=trial,
        images=len(images),
        sources=sources,
        maps=maps,
        numbers=numbers,
        val_top1_percent=top1 if isinstance(top1, float) else None,
        environment=environment(trial.device, trial.threads),
        code=code_version(),
        started=started,
        ended=now(),
    )


def _find(trial: Trial, folder: Path, retry: Sequence[str]) -> AtlasRecord | None:
    """The maps of a trial, if they are there and need not be made again."""
    path = folder / "maps" / f"atlas-{atlas_id(trial)}.json"
    if not path.exists():
        return None
    record = AtlasRecord.load(path)
    return None if record.status in retry else record


def _trained(trial: Trial, folder: Path) -> Record | None:
    """The record of a training run that has finished and left its weights."""
    path = folder / "records" / f"accuracy-{trial.id()}.json"
    if not path.exists() or not _weights(trial, folder).exists():
        return None
    record = Record.load(path)
    return record if record.status == "ok" else None


def _weights(trial: Trial, folder: Path) -> Path:
    return folder / "checkpoints" / f"accuracy-{trial.id()}.safetensors"


def _mean(values: Sequence[float]) -> float | None:
    """The mean of those that are not NaN; None where all are."""
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else None


def _rounded(value: float) -> float:
    """Six significant digits, which is what float32 gives."""
    return float(f"{value:.6g}")
