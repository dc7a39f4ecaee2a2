"""Text in the block of BERT and FNet: pre-training on any prose, then tasks on passages.

`corpora`, `tokenization`, `packing` and `masking` make of prose what a net is pre-trained on (`pretraining`); `glue`
and `plays` read the tasks (`passages`). Tokens below `tokens.SPECIAL` are special ones in every vocabulary.
"""

from __future__ import annotations

from benchmarks.contract.facts.datasets import PRETRAIN, DatasetInfo
from benchmarks.tasks.task import Task, register_task


@register_task("text")
def task_on_text(info: DatasetInfo) -> Task:
    """Pre-training, or one of the tasks on passages."""
    if info.name == PRETRAIN:
        from benchmarks.tasks.text.pretraining import Pretraining

        return Pretraining(info)
    from benchmarks.tasks.text.passages import Passages

    return Passages(info)
