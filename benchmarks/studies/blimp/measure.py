"""BLiMP of pre-trained nets: each is asked for the pseudo-log-likelihood of both sentences of every pair.

The nets are those of a results folder whose weights are there; what has a record is not asked again. All are asked in
float32, whatever they were trained in, so that near sentences are not told apart by rounding. A sentence is asked once
for each of its tokens: minutes a net on a CPU.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from tqdm import tqdm

from benchmarks.contract import called
from benchmarks.contract.errors import UserError
from benchmarks.contract.facts.datasets import PRETRAIN, typed_corpus
from benchmarks.contract.facts.devices import by_device
from benchmarks.contract.record import Record, code_version, load_records, now
from benchmarks.contract.trial import Trial
from benchmarks.contract.words import counted
from benchmarks.finished.nets import filled_in, load_net
from benchmarks.machine.device import set_math_mode
from benchmarks.machine.environment import environment
from benchmarks.studies.attempt import Deadline, let_go, why
from benchmarks.studies.blimp.record import FOLDER, BlimpRecord, load
from benchmarks.tasks.own import cache_folder
from benchmarks.tasks.text import blimp
from benchmarks.tasks.text.corpus.corpora import Corpus, open_corpus
from benchmarks.tasks.text.corpus.tokenization import Tokenizer, tokenizer_for
from mixers.registry import mixer_entry, split_mixers

PAIRS = 50  # of each paradigm
BATCH = by_device(cpu=128, gpu=2048)  # sequences

log = logging.getLogger("benchmarks")


@dataclasses.dataclass
class Outcome:
    """What came of a run.

    Attributes:
        records: of all nets that were asked, now or before.
        failed: why a net could not be asked, in words.
        left: nets that the deadline left, in words.
    """

    records: list[BlimpRecord] = dataclasses.field(default_factory=list)
    failed: list[str] = dataclasses.field(default_factory=list)
    left: list[str] = dataclasses.field(default_factory=list)


def pretrained(results: Path, mixers: str | None = None) -> list[Record]:
    """The pre-training records of a results folder whose weights are there, seed by seed.

    Args:
        results: the folder.
        mixers: names, wildcards or plug-ins, as they are typed; by default all.

    Raises:
        UserError: there is none.
        MixerError: a mixer is unknown.
    """
    begin = called.command("train", dataset=PRETRAIN, mixer="fft_real", results=results)
    found = [r for r in load_records(results, "accuracy-*.json") if r.trial.dataset == PRETRAIN and r.status == "ok"]
    if mixers is not None:
        known = list(dict.fromkeys(r.trial.mixer for r in found))
        specs = split_mixers(mixers)
        for outside in (part for spec in specs for part in spec.mixers if part.is_outside):
            mixer_entry(outside)  # from now on known without its path
        wanted = [spec.recorded for spec in specs]
        found = [r for r in found if r.trial.mixer in wanted]
        if known and not found:
            raise UserError(f"{results} has no pre-trained net of {mixers}; it has: {', '.join(known)}")
    if not found:
        raise UserError(f"{results} holds no pre-trained net; type {begin}")
    ready = [r for r in found if (results / "checkpoints" / f"accuracy-{r.id}.safetensors").is_file()]
    if not ready:
        raise UserError(
            f"{results} has {len(found)} pre-training records and the weights of none in {results / 'checkpoints'}; "
            f"pre-train on this machine: {begin}"
        )
    if len(ready) < len(found):
        log.info("left out: %d of %d pre-trained nets, whose weights are not here", len(found) - len(ready), len(found))
    return sorted(ready, key=lambda r: (r.trial.seed, r.trial.mixer))


def measure_blimp(
    results: Path,
    data_dir: Path,
    device: str = "cpu",
    threads: int = 1,
    text: str | None = None,
    mixers: str | None = None,
    until: float | None = None,
    on_record: Callable[[BlimpRecord], Any] = lambda record: None,
) -> Outcome:
    """Asks every pre-trained net of a results folder that has no record yet, and writes one of each.

    Args:
        results: the folder.
        data_dir: holds blimp/BLiMP.zip, and the byte-pairs of the nets in its cache.
        device: that asks.
        threads: of a CPU.
        text: what the nets were pre-trained on, where it is the user's own and byte-pairs must be found in it again.
        mixers: as `pretrained` takes them.
        until: of `time.monotonic`, after which no net is begun.
        on_record: told each new record once it is written.

    Raises:
        UserError: there is no such net, or no file of pairs, or none of the nets can be asked.
    """
    ready = pretrained(results, mixers)
    pairs = blimp.read(data_dir, PAIRS)
    source = hashlib.sha256((data_dir / "blimp" / blimp.FILE).read_bytes()).hexdigest()
    set_math_mode(threads)
    outcome, deadline = Outcome(), Deadline(until)
    for number, record in enumerate(ready, 1):
        path = results / FOLDER / f"blimp-{record.id}.json"
        if path.is_file():
            outcome.records.append(load(path))
            continue
        words = record.trial.describe()
        if deadline.passed():
            outcome.left.append(words)
            continue
        log.info("[%d/%d] %s", number, len(ready), words)
        began = now()
        try:
            scores = _ask(results, record, pairs, tokenizer_of(record.trial, data_dir, text), device)
        except Exception as error:  # of one net, such as a mixer of another version
            outcome.failed.append(f"{words}: {error if isinstance(error, UserError) else ': '.join(why(error))}")
            continue
        made = BlimpRecord(
            id=record.id,
            trial=record.trial,
            masked_percent=_number(record.metrics.get("test_top1_percent")),
            source=source,
            asked=len(pairs),
            **scores,
            environment=environment(device, threads),
            code=code_version(),
            started=began,
            ended=now(),
        )
        made.save(results)
        outcome.records.append(made)
        log.info("  %.1f %% of %s pairs", made.overall, f"{made.pairs:,}")
        on_record(made)
    if outcome.failed and not outcome.records:
        first, *others = outcome.failed
        raise UserError(first + (f"; and {counted(len(others), 'other net')} cannot be asked" if others else ""))
    return outcome


def _ask(
    results: Path, record: Record, pairs: Sequence[blimp.Pair], tokenizer: Tokenizer, device: str
) -> dict[str, Any]:
    """The scores of one net, by their names in a record."""
    length = record.trial.size[1]
    fitting = blimp.fitting(pairs, tokenizer, length)
    if not fitting:
        raise UserError(f"no pair fits into {length} tokens; pre-train with a larger length")
    net = load_net(results, record.id, device=device).net
    texts = blimp.sentences(fitting)
    total = sum(len(tokenizer.encode(text)) for text in texts)
    with tqdm(total=total, desc="sequences", leave=False, disable=None, dynamic_ncols=True) as bar:

        def predict(tokens: Tensor, at: Tensor) -> Tensor:
            bar.update(len(tokens))
            return filled_in(net, tokens.to(device), at.to(device))

        likelihoods = blimp.pseudo_log_likelihood(predict, texts, tokenizer, length, BATCH[device])
    let_go(device)
    scores = blimp.accuracies(fitting, likelihoods)
    scores["phenomena"] = _phenomena(fitting)
    return scores


def tokenizer_of(trial: Trial, data_dir: Path, text: str | None = None) -> Tokenizer:
    """The tokenizer of a pre-trained net: byte-pairs from the cache, else found again in the text that they are of.

    Raises:
        UserError: they are not there, and neither is the text.
    """
    assert trial.tokenizer is not None and trial.corpus is not None

    def read() -> Iterable[str]:
        typed = text or typed_corpus(trial.corpus)
        advice = f"type {called.option('text', '...')} with it, or {called.option('data_dir', '...')} of its cache"
        try:
            corpus = open_corpus(typed, data_dir)
        except UserError as error:
            raise UserError(f"{trial.tokenizer} of {trial.corpus} is not in the cache: {error}") from error
        if corpus.hash != trial.dataset_source:
            raise UserError(
                f"{trial.tokenizer} is not in the cache, and {corpus.source} is another text than the {trial.corpus} "
                f"that it is of; {advice}"
            )
        return corpus.documents()

    corpus = Corpus(trial.corpus, trial.corpus, trial.dataset_source or "", read)
    return tokenizer_for(trial.tokenizer, corpus, cache_folder(data_dir))


def _phenomena(pairs: Iterable[blimp.Pair]) -> dict[str, list[str]]:
    found: dict[str, dict[str, None]] = collections.defaultdict(dict)
    for pair in pairs:
        found[pair.phenomenon][pair.paradigm] = None
    return {name: list(found[name]) for name in sorted(found)}


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
