"""The verbs: what each does in a line, where it is defined, and which options it takes."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
from collections.abc import Callable, Iterable

from benchmarks.contract.facts.datasets import SIZES, TASKS
from benchmarks.contract.facts.kinds import KINDS, Kind
from benchmarks.contract.fields import RECIPE, SEED
from benchmarks.contract.trial import FACTS, FLAGGED


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verb:
    """One verb.

    Attributes:
        text: its line in help.
        place: of its function, "module:name" in this package, which is imported only where the verb is run.
        takes: the options.
        leaves: those that a file of CONFIG may name for other verbs.
    """

    text: str
    place: str
    takes: tuple[str, ...]
    leaves: tuple[str, ...] = ()

    def function(self) -> Callable[[argparse.Namespace], int]:
        """What runs it: from the options to the exit code."""
        module, _, name = self.place.partition(":")
        return getattr(importlib.import_module(f"{__package__}.{module}"), name)


def fields_of(kinds: Iterable[str]) -> tuple[str, ...]:
    """The fields that can be asked for of trials of these kinds.

    Those of a kind's roles; the recipe of every kind, since the net that a search chose is found by it; what is tuned,
    and the seed, only where a net is trained.
    """
    return tuple(name for name in FLAGGED if any(_bears_on(name, KINDS[kind]) for kind in kinds))


def _bears_on(name: str, kind: Kind) -> bool:
    facts = FACTS[name]
    return kind.trains if facts.tuned or facts.role == SEED else facts.role in (*kind.roles, RECIPE)


WHAT = ("mixer", "data_dir", "text")
RUN = ("results", "retry", "budget")
TRAINING_RUNS = ("log", "timeout", "workers", "ray")
TRAINED = fields_of(["accuracy"])
# encoders are pre-trained first, at one length
NOT_OF_TEXT = (*(name for name in SIZES if name not in TASKS["text"].sizes), "padded_length", "pretrained")


def _sweep(text: str, name: str, *takes: str, refuses: tuple[str, ...] = ()) -> Verb:
    """A verb that measures a list of trials; one file of CONFIG serves them all."""
    leaves = (field for field in FLAGGED if field not in refuses)
    return Verb(text=text, place=f"verbs_sweeps:{name}", takes=(*WHAT, *RUN, *takes), leaves=(*leaves, *TRAINING_RUNS))


def _own(text: str, place: str, *takes: str, leaves: tuple[str, ...] = ()) -> Verb:
    return Verb(text=text, place=place, takes=takes, leaves=leaves)


VERBS = {
    "bench-all": _sweep(
        "Trains, cost, latency, tables, plots; resumes.", "bench_all", *fields_of(KINDS), "sittings", *TRAINING_RUNS
    ),
    "train": _sweep(
        "One training run, or several where MIXER, SEED or IMAGE_SIZE is a list.", "train", *TRAINED, *TRAINING_RUNS
    ),
    "latency": _sweep(
        "Time per image size, each mixer alone and in the backbone.", "latency", *fields_of(["latency"]), "sittings"
    ),
    "cost": _sweep("Parameters, FLOPs and peak memory.", "cost", *fields_of(["cost"])),
    "tune": _sweep(
        "The sweep of learning rate and weight decay, and of nets, on held-out training images; resumes.",
        *("tune", *fields_of(["tuning"]), "search", *TRAINING_RUNS),
    ),
    "report": _own(
        "Tables, plots and the page again, and those of every study, from the records alone.",
        "verbs_results:report",
        "results",
    ),
    "site": _own(
        "One page of all results folders within a folder, fit for a static host: site --results results/published.",
        *("verbs_results:site", "results", "repository"),
    ),
    "claims": _own(
        "The literature's claims, judged from records alone; --results A,B reads several folders.",
        *("verbs_results:claims", "results"),
    ),
    "compare": _own(
        "What differs between two results folders, and how surely: compare --a BEFORE --b AFTER.",
        *("verbs_results:compare", "a", "b", "out"),
    ),
    "evaluate": _own(
        "A trained net on images of your own: evaluate --net NAME_OR_ID --dataset folder:PATH.",
        *("verbs_results:evaluate", "net", "mixer", "dataset", "data_dir", "results", "device", "seed", "epochs"),
        "out",
    ),
    "status": _own(
        "What is done, running, failed, and how long the rest takes, from the results folder alone.",
        *("verbs_results:status", "results"),
    ),
    "validate": _own(
        "Whether the records of a folder that somebody sends are what they say: validate DIR.",
        *("verbs_results:validate", "folder", "results", "data_dir"),
    ),
    "list": _own(
        "The mixers with family, complexity, paper and year; the data sets with classes, sizes and splits.",
        *("verbs_results:list_verb", "mixer", "dataset"),
    ),
    "speed": _own(
        "Ratios: our transforms beside torch.fft and naive forms, our training loop beside timm's.",
        *("verbs_timing:speed", "threads", "data_dir", "results", "device", "budget"),
    ),
    "crossovers": _own(
        "Which method of a mixer is fastest from how many tokens on: the table behind method=auto.",
        *("verbs_timing:crossovers", "device", "threads", "precision", "rounds", "results", "budget"),
    ),
    "profile": _own(
        "Where the time of a training step goes, by part of the net, and a trace of it.",
        *("verbs_timing:profile", *WHAT, *TRAINED, "rounds", "results", "budget"),
        leaves=(*FLAGGED, "log", "timeout", "ray"),
    ),
    "spectracles": _own(
        "The first source's own net, its published log run again in both layouts; resumes.",
        *("verbs_studies:spectracles", "dim", "depth", "seed", "epochs", "train_images", "dataset", "data_dir"),
        *("results", "device", "threads", "retry", "complex"),
    ),
    "text": _sweep(
        "FNet's experiment: encoders pre-trained on text and fine-tuned on tasks; resumes.",
        *("text", *(name for name in TRAINED if name not in NOT_OF_TEXT), "scratch", *TRAINING_RUNS),
        refuses=(
            "padded_length",
            "pretrained",
        ),  # left unsaid, a line would start from other weights than the file names
    ),
    "blimp": _own(
        "Grammar: of two sentences, does each pre-trained net in --results find the right one likelier? Resumes.",
        *("verbs_studies:blimp", "mixer", "data_dir", "text", "device", "threads", "results", "budget"),
    ),
    "transforms": _own(
        "What makes a transform mix well: fixed matrices trained alike, yours too (--matrix file.npy); resumes.",
        *("verbs_studies:transforms", "matrix", "design", "dataset", "dim", "depth", "epochs", "train_images"),
        *("seed", "device", "threads", "data_dir", "results", "retry", "timeout", "budget", "workers"),
    ),
    "bench-peers": _own(
        "Ratios: each mixer beside the best public implementation that installs from PyPI.",
        *("verbs_timing:bench_peers", "mixer", "image_size", "threads", "rounds", "results", "budget"),
    ),
    "atlas": _own(
        "What each mixer does: maps of one token's influence, before and after training.",
        *("verbs_studies:atlas", *WHAT, *TRAINED, "results", "retry"),
        leaves=(*FLAGGED, "log", "timeout", "ray"),
    ),
    "gpu-check": _own(
        "The first minutes on a GPU: card, ceilings, tests, a captured step of each mixer, kernels, crossovers.",
        *("verbs_studies:gpu_check", "budget", "results"),
    ),
}
