"""What a request comes to: every choice that was left open filled in and checked."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import logging
from pathlib import Path
from typing import Any

from benchmarks.contract import called
from benchmarks.contract.choices.profiles import CORE_MIXERS, USUAL_NET, Net, Profile, profile_of
from benchmarks.contract.errors import UserError, nearest
from benchmarks.contract.facts.datasets import (
    BYTES,
    DATASETS,
    HOW_OWN,
    PRETRAIN,
    TASKS,
    TIMM_KINDS,
    add_corpus,
    facts_of,
    fixed_of,
    task_name,
)
from benchmarks.contract.facts.devices import DEVICES
from benchmarks.contract.record import cores
from benchmarks.contract.trial import FIELDS, normal_size, parse_size
from benchmarks.machine.device import resolve_device
from benchmarks.plan.checks import check_fields_of_task, check_recipe
from benchmarks.plan.plugins import check_plugin, is_plugin
from benchmarks.plan.request import Request, check_values, first
from benchmarks.tasks.own import find_own
from benchmarks.tasks.sequences.parts.fingerprints import text_source
from mixers import MixerError
from mixers.registry import split_mixers
from mixers.spec import MixerSpec, parse

log = logging.getLogger("benchmarks")

DEFAULT_SEQUENCES = "recall"  # where a length is asked for and no data set


class Resolved:
    """A request with what it left open filled in.

    Args:
        request: lists in it are those of seeds and sizes, and of `tune` the rates and decays to try.
        like: one with the same data set and profile, whose facts of them are taken; None: the data set is looked at.

    Raises:
        UserError: a value is not allowed, or the device is not there.
    """

    def __init__(self, request: Request, like: Resolved | None = None) -> None:
        self.request, self.like = request, like
        check_values(request)
        self.device = resolve_device(request.device)
        self.precision: str = request.precision or DEVICES[self.device].precision
        if request.residual == "bfloat16" != self.precision:
            more = called.option("precision", "bfloat16")
            raise UserError(f"--residual is bfloat16, which is for training in bfloat16; add {more}")
        self.profile_name = request.profile or DEVICES[self.device].profile
        self.dataset, self.own_source = self._find_dataset()
        self.corpus: str | None = None
        if task_name(self.dataset) == "text":
            self._find_text()
        check_fields_of_task(request, self.dataset)
        check_recipe(request, self.dataset)
        self.fixed = fixed_of(self.dataset)
        self.extent = TASKS[task_name(self.dataset)].sizes[0]  # the field that a sweep over sizes varies
        self.profile = self._find_profile()
        mixers = split_mixers(request.mixer) if request.mixer is not None else map(parse, CORE_MIXERS)
        self.mixers = [mixer for mixer in mixers if self._is_sound(mixer)]
        self.threads: int = first(request.threads, self.profile.threads, cores())
        self.net_is_given = request.norm is not None or request.positions is not None or "norm" in self.fixed
        self.usual: Net = (
            first(request.norm, self.fixed.get("norm"), USUAL_NET[0]),
            first(request.positions, self.fixed.get("positions"), USUAL_NET[1]),
        )

    def _find_dataset(self) -> tuple[str, str | None]:
        """Its name, and the fingerprint of the user's own."""
        default = "cifar100" if self.profile_name == "full" else "mosaics"
        default = DEFAULT_SEQUENCES if self.request.length is not None else default
        name = default if self.request.dataset is None else self.request.dataset
        if self.like is not None:
            return self.like.dataset, self.like.own_source
        if name in DATASETS:
            return name, None
        _check_name(name)
        found = find_own(name, self.request.data_dir)
        return found.name, found.source

    def _find_profile(self) -> Profile:
        """The profile, with the rates and decays that were asked for in place of those it tries."""
        profile = profile_of(self.profile_name, self.dataset)
        for name, tried in (("lr", "tuned_lrs"), ("weight_decay", "tuned_weight_decays")):
            if isinstance(values := getattr(self.request, name), tuple):
                own: dict[str, Any] = {tried: values}
                if name == "lr":
                    own = {tried: tuple(sorted(values)), "tuned_all": True}
                profile = dataclasses.replace(profile, **own)
        return profile

    def _find_text(self) -> None:
        """The corpus that nets are pre-trained on, or that byte-pairs are found in; bytes alone need none."""
        tokenizer = self.request.tokenizer or profile_of(self.profile_name, self.dataset).tokenizer
        if self.dataset != PRETRAIN and tokenizer == BYTES:
            return
        corpus = _opened(self.request.text, self.request.data_dir)
        self.corpus, self.own_source = corpus.name, corpus.hash
        if corpus.source != corpus.name:
            place = Path(corpus.source).expanduser()
            add_corpus(corpus.name, str(place.resolve()) if place.exists() else corpus.source)

    @functools.cached_property
    def dataset_source(self) -> str | None:
        """Of trials that train: the fingerprint of the user's own data, or of the text that sequences are made of."""
        if self.own_source is not None:
            return self.own_source
        return self.like.dataset_source if self.like else text_source(self.dataset, self.request.data_dir)

    @property
    def sizes(self) -> tuple[Any, ...]:
        """The sizes asked for, pixels or tokens, else the profile's main one."""
        return getattr(self.request, self.extent) or (getattr(self.profile, self.extent),)

    def asked(self, name: str) -> Any:
        """What was asked for, else what the task or the profile says, else the default of trials."""
        asked = (getattr(self.request, name, None), self.fixed.get(name), getattr(self.profile, name, None))
        return first(*asked, FIELDS[name])

    def size_fields(self, size: Any, patch: int | None = None) -> dict[str, Any]:
        """The fields of a trial that say how large an input is; a patch size where another is wanted."""
        if self.extent == "length":
            return {"length": size, "padded_length": self._padded_length(size)}
        patch = first(patch, self.request.patch_size, self.profile.patch_size)
        return {"image_size": normal_size(size), "patch_size": patch}

    def text_fields(self) -> dict[str, Any]:
        """What a trial on text has besides."""
        if task_name(self.dataset) != "text":
            return {}
        return {"corpus": self.corpus, "tokenizer": self.asked("tokenizer")}

    def _padded_length(self, length: int) -> int | None:
        """What was asked for; None where that is the length itself, or this one only belongs to a sweep over sizes."""
        asked = self.request.padded_length
        return None if asked == length or length not in self.sizes else asked

    def _grid(self) -> tuple[int, int]:
        """Of the main size."""
        fields = self.size_fields(self.sizes[0])
        if "length" in fields:
            return 1, max(1, fields["length"], fields["padded_length"] or 1)
        sides = parse_size(fields["image_size"])
        rows, columns = (max(1, side // max(1, fields["patch_size"])) for side in sides)
        return rows, columns

    def check_size(self, size: Any) -> None:
        info = facts_of(self.dataset)
        if info is not None and info.task == "images":
            info.check_size(parse_size(size))
        elif info is not None:
            info.check_length(size)

    def _is_sound(self, mixer: MixerSpec) -> bool:
        """Looks at the plug-ins in a mixer; a broken one that only a wildcard brought in is left out with a warning.

        Raises:
            MixerError: a plug-in that was asked for by name is broken.
        """
        grid = self._grid()
        for plugin in filter(is_plugin, mixer.mixers):
            try:
                check_plugin(plugin, first(self.request.dim, self.profile.dim), grid)
            except MixerError as error:
                if plugin.text in (self.request.mixer or ""):
                    raise
                log.warning("left out: %s", error)
                return False
        return True


def _check_name(name: str) -> None:
    """Tells a mistyped name of ours from the place of somebody's own data, so that no module is run for it.

    Raises:
        UserError: it is several data sets, or one of a family of ours that has none of this name.
    """
    place, colon, _ = name.rpartition(":")
    if place.endswith(".py") or name.lower().startswith(("folder:", *(f"{kind}/" for kind in TIMM_KINDS))):
        return
    if "," in name and (colon or any(part.strip() in DATASETS for part in name.split(","))):
        one = name.partition(",")[0].strip()
        more = nearest(one.lower(), DATASETS) if one not in DATASETS else ""
        raise UserError(
            f"--dataset is {name!r}; one is asked for, of: {', '.join(DATASETS)}; or your own: {HOW_OWN}.{more}"
        )
    families = {known.partition(":")[0] for known in DATASETS if ":" in known}
    family, near = name.partition(":")[0].strip(), nearest(name.lower(), DATASETS)
    module = family.partition(".")[0]
    if colon and (family.lower() in families or (near and not (module and importlib.util.find_spec(module)))):
        raise UserError(f"--dataset is {name!r}; allowed: {', '.join(DATASETS)}; or your own: {HOW_OWN}.{near}")


@functools.lru_cache(maxsize=4)
def _opened(text: str | None, data_dir: Path) -> Any:
    """A corpus, once for all plans of a command."""
    from benchmarks.tasks.text.corpus.corpora import open_corpus

    return open_corpus(text, data_dir)
