"""The whole line of text: every encoder is pre-trained, and then fine-tuned on each task from its own weights.

One seed is one such line: the encoder that is fine-tuned with seed 1 was pre-trained with it. What is fine-tuned names
the record of its pre-training, whose id is known before it is measured.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from benchmarks.contract.errors import UserError, nearest
from benchmarks.contract.facts.datasets import DATASETS, PRETRAIN
from benchmarks.contract.facts.text_tasks import TEXT_TASKS
from benchmarks.contract.fields import NET
from benchmarks.contract.trial import Trial, names_of
from benchmarks.plan.request import Request
from benchmarks.plan.trials import Plan
from benchmarks.tasks.text.tasks.glue import LAYOUTS, SMALL_FILES, look_for_files

log = logging.getLogger("benchmarks")

# BERT, FNet, FNet's FF-only, Linear and Random, its best hybrid, and its two other transforms
ENCODERS = (
    "attention",
    "fft_real",
    "ff_only",
    "linear_fnet",
    "random_fnet",
    "hybrid_top",
    "dct",
    "hadamard",
)
OWN_TASK = "plays"  # of the default prose


def pretraining(request: Request) -> list[Trial]:
    """The trials of the first part: what each encoder costs, and its runs.

    Raises:
        UserError: something of the request is not allowed.
    """
    plan = _plan(request)
    return [*plan.cost(), *plan.accuracy()]


def times(request: Request) -> list[Trial]:
    """The trials that time the encoders of `pretraining`, alone, at the length that they are trained at."""
    plan = _plan(request)
    lengths = {trial.length for trial in plan.accuracy()}
    return [trial for trial in plan.latency() if trial.length in lengths]


def _plan(request: Request) -> Plan:
    return Plan(request.but(dataset=PRETRAIN, mixer=request.mixer or ",".join(ENCODERS)))


def fine_tuning(request: Request, tasks: Sequence[str], pretrained: Sequence[Trial], scratch: bool) -> list[Trial]:
    """The trials of the second part, tasks outermost.

    Args:
        request: as for `pretraining`; of its recipe nothing counts here but the profile's.
        tasks: data sets.
        pretrained: the trials whose weights are there.
        scratch: whether each encoder is trained from its first weights too.
    """
    found = []
    for task in tasks:
        for trial in pretrained:
            # the seed of a net in the order of its line; the net as it was pre-trained
            own = {name: getattr(trial, name) for name in names_of(NET) if hasattr(request, name)}
            own |= {"length": (trial.length,), "mixer": trial.mixer, "seed": (trial.seed,), "dataset": task}
            own |= {"gain": trial.gain, "profile": trial.profile, "text": request.text, "threads": trial.threads}
            own = {name: value for name, value in own.items() if name not in ("norm", "positions", "coordinates")}
            for given in (trial.id(), None) if scratch else (trial.id(),):
                plain = Request(data_dir=request.data_dir, results=request.results, device=trial.device)
                found += Plan(plain.but(**own, pretrained=given, precision=trial.precision)).accuracy(all_seeds=False)
    return found


def tasks_of(asked: str | None, text: str | None, data_dir: Path) -> list[str]:
    """The tasks that were asked for, "glue:sst2,mr", or all of "glue"; else those whose files are there.

    Raises:
        UserError: there is no such task, or it lacks a file.
    """
    known = [name for name, info in DATASETS.items() if info.task == "text" and name != PRETRAIN]
    if asked is None:
        here = [name for name in known if _is_there(name, data_dir)]
        return here or ([OWN_TASK] if text in (None, "shakespeare") else [])
    found: list[str] = []
    for name in (part.strip() for part in asked.split(",")):
        if name == "glue":
            found += [task for task in known if task.startswith("glue:") and _is_there(task, data_dir)]
        elif name in known:
            found.append(name)
        elif name != PRETRAIN:
            raise UserError(f"--dataset is {name!r}; allowed for text: {', '.join(known)}, glue.{nearest(name, known)}")
    for name in found:
        look_for_files(name, data_dir)
    return list(dict.fromkeys(found))


def _is_there(name: str, data_dir: Path) -> bool:
    """Whether all files of a task are there; of one that has some of them alone, a warning says what it lacks."""
    task = name.removeprefix("glue:")
    if task not in TEXT_TASKS:
        return False
    folder = Path(data_dir).expanduser()
    if task in LAYOUTS:
        begun = (folder / "glue" / LAYOUTS[task].folder).is_dir()
    else:
        begun = any((folder / "small" / name).is_file() for names in SMALL_FILES[task].values() for name in names)
    if not begun:
        return False
    try:
        look_for_files(name, data_dir)
    except UserError as error:
        log.warning("%s is left out: %s", name, error)
        return False
    return True
