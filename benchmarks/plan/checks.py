"""What is looked at before anything runs: whether a request can be met, and whether its mixers can be built."""

from __future__ import annotations

import contextlib
import functools

from torch._subclasses.fake_tensor import FakeTensorMode

from benchmarks.contract.errors import UserError
from benchmarks.contract.facts.datasets import SIZES, TASKS, facts_of, fixed_of, is_procedural, task_name
from benchmarks.contract.trial import flag
from benchmarks.plan.request import Request
from mixers import UnsupportedSize, create_mixer
from mixers.spec import MixerSpec

OF_TEXT = ("text", "tokenizer", "gain", "pretrained", "order")


def check_fields_of_task(request: Request, dataset: str) -> None:
    """What says how large an input of another task is has no use here, and what is fixed for a task is not asked for.

    Raises:
        UserError: it was.
    """
    sizes = TASKS[task_name(dataset)].sizes
    for name, fixed in fixed_of(dataset).items():
        if getattr(request, name, None) not in (None, fixed):
            raise UserError(
                f"{flag(name)} is {getattr(request, name)}; allowed for {dataset}, the same for all mixers: {fixed}"
            )
    if request.search == "nets" and "norm" in fixed_of(dataset):
        raise UserError(f"--search is nets; norm and positions are fixed for {dataset}, so only rates can be searched")
    for name in OF_TEXT if task_name(dataset) != "text" else ():
        if (given := getattr(request, name)) is not None:
            raise UserError(
                f"{flag(name)} is {given}, which is for text; {dataset} is a data set of {task_name(dataset)}"
            )
    optional = ("padded_length",) if "length" in sizes else ()
    for name in (*SIZES, "padded_length"):
        if name not in (*sizes, *optional) and getattr(request, name) is not None:
            takes = " and ".join(map(flag, sizes))
            raise UserError(
                f"{dataset}, a data set of {task_name(dataset)}, has no use for {flag(name)}; it takes {takes}"
            )


def check_recipe(request: Request, dataset: str) -> None:
    """Whether a data set is trained on in the way that was asked for.

    Raises:
        UserError: it has no such number of training images, or no such augmentation.
    """
    chunked = (info := facts_of(dataset)) is not None and info.chunked
    if request.train_images is not None and not is_procedural(dataset) and not chunked:
        raise UserError(f"--train-images is for procedural data sets; {dataset} trains on its whole training split")
    if request.augment is not None and (info := facts_of(dataset)) is not None:
        info.check_augment(request.augment)


@functools.cache
def check_that_it_builds(mixer: MixerSpec, dim: int, depth: int, grid: tuple[int, int]) -> None:
    """Tells a mistake in a mixer's options before anything runs; a size that does not exist is a result, not a mistake.

    Raises:
        MixerError: the mixer has no such option, or not this value of it; or its blocks are not as many as `depth`.
    """
    for spec in dict.fromkeys(mixer.of_blocks(depth)):
        with FakeTensorMode(allow_non_fake_inputs=True), contextlib.suppress(UnsupportedSize):
            create_mixer(spec, dim, grid)
