"""From what the user asked for to the list of trials."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

from benchmarks.contract.choices import tuning
from benchmarks.contract.choices.chosen_nets import ChosenNets
from benchmarks.contract.choices.profiles import RATES_FROM, USUAL_NET, Net
from benchmarks.contract.errors import UserError
from benchmarks.contract.facts.datasets import PRETRAIN, main_metric, task_name
from benchmarks.contract.facts.devices import DEVICES
from benchmarks.contract.facts.kinds import KINDS
from benchmarks.contract.fields import MATCH, NET, RECIPE
from benchmarks.contract.record import Record
from benchmarks.contract.trial import FACTS, Trial, base_name, names_of
from benchmarks.plan.checks import check_that_it_builds
from benchmarks.plan.plugins import source_of, version_of
from benchmarks.plan.request import Request, first
from benchmarks.plan.resolved import Resolved
from benchmarks.timing.match import matched
from mixers.spec import MixerSpec, parse

FIRST = ("attention", "conv1x1")  # what every other mixer is read beside: the best known, and no mixing at all


class Plan(Resolved):
    """The trials that a request stands for, kind by kind.

    Args:
        request: lists in it are those of seeds and image sizes, and of `tune` the rates and decays to try; see
            `benchmarks.plan.grid` for others.
        like: a plan with the same data set, profile and results folder, whose facts of them are taken; None: the data
            set is looked at, and the tuning records of the folder are read.

    Raises:
        UserError: a value is not allowed, or the device is not there.
    """

    def __init__(self, request: Request, like: Plan | None = None) -> None:
        super().__init__(request, like)
        self.sweep: list[Record] = self._read_sweep() if like is None else like.sweep
        self.lent_sweep: list[Record] = self._read_lent_sweep() if like is None else like.lent_sweep
        self._tuned_at: dict[tuple[int | str | None, bool], dict[str, tuning.Choice]] = {}
        self._gains: dict[int | str | None, dict[str, float | None]] = {}
        self.chosen_nets = ChosenNets(self.sweep)

    def _read_sweep(self) -> list[Record]:
        return tuning.tuning_records(self.request.results, self.dataset, self.profile_name)

    def _read_lent_sweep(self) -> list[Record]:
        """That of the task on text whose rates serve all others."""
        if task_name(self.dataset) != "text" or self.dataset in (PRETRAIN, RATES_FROM):
            return []
        return tuning.tuning_records(self.request.results, RATES_FROM, self.profile_name)

    def tuned_at(self, size: int | str) -> dict[str, tuning.Choice]:
        """What a sweep in the results folder chose at a size, by the mixer as written."""
        return self._chosen_at(size, lent=True) | self._chosen_at(size)

    def _chosen_at(self, size: int | str, lent: bool = False) -> dict[str, tuning.Choice]:
        """The same of the sweep of the data set, or of the one that is lent."""
        at = self.size_fields(size)[self.extent], lent
        if at not in self._tuned_at:
            padded_length = self.size_fields(size).get("padded_length")
            nets = dict.fromkeys((None, padded_length))  # what was chosen for the padded net counts before the other
            sweep = self.lent_sweep if lent else self.sweep
            swept = [self.tuning_records(sweep, size, {"padded_length": padded}) for padded in nets]
            chosen = [tuning.choices(records, self.profile, self.usual) for records in swept]
            self._tuned_at[at] = chosen[0] | chosen[-1]
        return self._tuned_at[at]

    def tuning_records(self, sweep: list[Record], size: int | str, but: dict[str, Any] | None = None) -> list[Record]:
        """Those of a sweep over nets and recipes like the ones asked for, each mixer's with its gain."""
        return [
            r for r in self._of_any_gain(sweep, size, but) if r.trial.gain == self._gain(parse(r.trial.mixer), size)
        ]

    def _of_any_gain(self, sweep: list[Record], size: int | str, but: dict[str, Any] | None = None) -> list[Record]:
        """Those of nets and recipes like the ones asked for; what was chosen for others says little.

        Args:
            sweep: the records.
            size: of the inputs.
            but: fields in which the nets are others than those asked for.
        """
        alike = self._recipe() | {name: self.asked(name) for name in names_of(NET, MATCH)}
        alike["dataset_source"] = self.dataset_source
        alike |= self.size_fields(size) | (but or {})
        # at an equal budget every mixer has its own width
        width = alike.pop("dim")
        alike["dim" if alike["match"] == "width" else "match_dim"] = width
        alike |= {"norm": self.usual[0], "positions": self.usual[1]}
        if not self.net_is_given:
            del alike["norm"], alike["positions"]
        # what was chosen for a net of one seed serves those that were pre-trained alike with others
        starts = tuning.pretrained_alike(
            self.request.results, alike.pop("pretrained"), (r.trial.pretrained for r in sweep)
        )
        versions = {mixer.recorded: version_of(mixer) for mixer in self.mixers}
        return [
            r
            for r in sweep
            if r.trial.mixer_version == versions.get(r.trial.mixer, r.trial.mixer_version)
            and r.trial.pretrained in starts
            and all(getattr(r.trial, name) == value for name, value in alike.items())
        ]

    def accuracy(self, all_seeds: bool = True) -> list[Trial]:
        """Seeds outermost, so that whatever has finished is a fair set; then the extra sizes, with the first seed.

        Args:
            all_seeds: the profile's seeds and extra sizes; else its first seed and main size, as `train` does.
        """
        profile, request = self.profile, self.request
        seeds = request.seed or (profile.seeds if all_seeds else profile.seeds[:1])
        sizes = self.sizes
        extra = profile.extra_sizes if all_seeds and getattr(request, self.extent) is None else ()
        for size in sizes:
            self.check_size(size)
        settings = [(size, seed) for seed in seeds for size in sizes] + [(size, seeds[0]) for size in extra]
        recipe = self._recipe()
        return [
            self._trial("accuracy", mixer, size, seed=seed, **recipe, **self.tuned_of(mixer, size))
            for size, seed in settings
            for mixer in self.mixers
        ]

    def tuning(self) -> list[Trial]:
        """What the sweep asks for as far as its records tell, those tried already included.

        What comes next depends on what did best, so the caller asks again after measuring until nothing is new.
        """
        profile, request = self.profile, self.request
        if main_metric(self.dataset) != "test_top1_percent":
            raise UserError(
                f"tune chooses by the share that is right; {self.dataset} asks for a number, take a task with classes"
            )
        size = self.sizes[0]
        seeds = request.seed or profile.seeds[:1]
        tried = tuning.points_by_mixer(self.tuning_records(self._read_sweep(), size), self.usual)
        wanted = {}
        for mixer in self.mixers:
            points = tried.get(mixer.recorded, {})
            wanted[mixer] = [(point, self.usual) for point in tuning.points_to_try(points, profile)]
            if request.search == "nets" and mixer not in self.net_choosers():
                wanted[mixer] += tuning.nets_to_try(points, profile)
        recipe = self._recipe()
        steps = itertools.zip_longest(*([(mixer, *one) for one in several] for mixer, several in wanted.items()))
        asked = [one for step in steps for one in step if one is not None]
        return [
            self._trial(
                "tuning", mixer, size, net, seed=seed, lr=lr, weight_decay=decay, gain=self._gain(mixer, size), **recipe
            )
            for seed in seeds
            for mixer, (lr, decay), net in asked
        ]

    def net_choosers(self) -> dict[MixerSpec, str]:
        """The mixers that take another's choice of norm and positions, and whose."""
        choosers = {mixer: tuning.net_chooser(mixer.text) for mixer in self.mixers}
        return {mixer: chooser for mixer, chooser in choosers.items() if chooser != base_name(mixer.text)}

    def _recipe(self) -> dict[str, Any]:
        """How every mixer is trained, but for what is tuned."""
        return {name: self.asked(name) for name in names_of(RECIPE) if not FACTS[name].tuned}

    def tuned_of(self, mixer: MixerSpec, size: int | str) -> dict[str, Any]:
        """What was asked for, else what a sweep in the results folder chose, else the profile's choice.

        Options of a mixer change nothing where they have no sweep of their own; nor does a size, which takes what was
        chosen at the profile's.
        """
        found = (
            self._chosen_at(at, lent).get(written)
            for lent in (False, True)
            for at in (size, getattr(self.profile, self.extent))
            for written in (mixer.recorded, mixer.name)
        )
        here = next((choice for choice in found if choice is not None), None)
        return {
            "lr": first(self.request.lr, here and here.lr, self.profile.lr_of.get(mixer.name), self.profile.lr),
            "weight_decay": first(self.request.weight_decay, here and here.weight_decay, self.profile.weight_decay),
            "gain": self._gain(mixer, size),
        }

    def _gain(self, mixer: MixerSpec, size: int | str) -> float:
        """What was asked for, else what a sweep over gains chose, else the profile's choice."""
        if self.request.gain is not None or task_name(self.dataset) != "text":
            return first(self.request.gain, tuning.USUAL_GAIN)
        sizes = dict.fromkeys((size, getattr(self.profile, self.extent)))
        tried = (self._gains_at(at).get(written) for at in sizes for written in (mixer.recorded, mixer.name))
        return first(*tried, *map(self.profile.gain_of.get, (mixer.text, mixer.name)), tuning.USUAL_GAIN)

    def _gains_at(self, size: int | str) -> dict[str, float | None]:
        """What a sweep over gains chose at a size, by the mixer as written."""
        if size not in self._gains:
            records = self._of_any_gain(self.sweep, size)
            self._gains[size] = {name: tuning.chosen_gain(records, name) for name in {r.trial.mixer for r in records}}
        return self._gains[size]

    def _own_net(self, trial: Trial) -> Net:
        """What was asked for, else what was chosen for the mixer in this setting, else the usual norm and positions."""
        if self.net_is_given:
            return self.usual
        fields = trial.to_dict() | self._recipe() | {"kind": "accuracy", "match_dim": trial.dim}
        return next(iter(self.chosen_nets.of(fields)), USUAL_NET)

    def _sizes_and_extra(self) -> tuple[Any, ...]:
        asked = getattr(self.request, self.extent) is not None
        return self.sizes if asked else (*self.sizes, *self.profile.extra_sizes)

    def cost(self) -> list[Trial]:
        """One trial for every net that `accuracy` trains."""
        batch = first(self.request.batch_size, self.profile.batch_size)
        sizes = self._sizes_and_extra()
        return [self._trial("cost", mixer, size, batch_size=batch) for size in sizes for mixer in self.mixers]

    def latency(self, trained: bool = True) -> list[Trial]:
        """The sweep over image sizes with pixels as tokens, and, where `trained`, the nets that `accuracy` trains.

        Attention is timed with the plain backend too. Trials of one image size stand together.
        """
        profile, request = self.profile, self.request
        settings: list[tuple[Any, int | None, str]] = []
        pixels = 1 if self.extent == "image_size" else None  # every pixel a token
        if trained:
            patch = first(request.patch_size, profile.patch_size)
            settings += [(size, patch, self.asked("match")) for size in self._sizes_and_extra()]
            settings += [(size, pixels, "width") for size in profile.latency_sizes]
        else:
            asked = getattr(request, self.extent) or profile.latency_sizes
            settings += [(size, request.patch_size or pixels, self.asked("match")) for size in asked]
        mixers = list(self.mixers)
        if (attention := parse("attention")) in mixers:
            mixers.insert(mixers.index(attention) + 1, parse("attention(backend=plain)"))
        measured = DEVICES[self.device].precisions
        precisions = [request.precision] if request.precision else [p for p in profile.precisions if p in measured]
        trials = []
        for size, patch, match in dict.fromkeys(settings):
            main = patch == first(request.patch_size, profile.patch_size) and size == getattr(profile, self.extent)
            asked = getattr(request, self.extent) is not None or (patch == 1 and size in profile.compiled_sizes)
            too = profile.compiled_sizes and (main or asked)
            for precision in precisions:
                for compiled in (False, True) if too else (False,):
                    for mixer in mixers:
                        trial = self._trial(
                            *("latency", mixer, size),
                            **self.size_fields(size, patch),
                            match=match,
                            precision=precision,
                            compiled=compiled,
                            rounds=first(request.rounds, profile.rounds),
                        )
                        batch = max(1, min(512, profile.latency_elements // (trial.dim * trial.tokens)))
                        trials.append(dataclasses.replace(trial, batch_size=first(request.batch_size, batch)))
        return trials

    def by_worth(self) -> list[Trial]:
        """All that `bench-all` measures, so that whatever is done first is the most that can be said by then.

        A fair set comes first: one seed of every mixer, attention and the 1x1 convolution before the others, with cost
        and latency of the same nets; then more seeds, the sweep over image sizes, compiled nets, other image sizes.
        """
        return [trial for _, trial in sorted(self.worths(), key=lambda pair: pair[0])]

    def worths(self) -> list[tuple[tuple[int, ...], Trial]]:
        """The trials of `by_worth`, each after what it is sorted by."""
        main = [self.size_fields(size)[self.extent] for size in self.sizes]
        accuracy = self.accuracy()
        seeds = list(dict.fromkeys(trial.seed for trial in accuracy))

        def worth(trial: Trial) -> tuple[int, ...]:
            in_main = trial.extent in main
            if trial.kind == "accuracy":
                seed = seeds.index(trial.seed)
                first = FIRST.index(trial.mixer) if trial.mixer in FIRST else len(FIRST)
                return (0 if in_main and not seed else 3 if in_main else 6, seed, first)
            if trial.kind == "cost":
                return (1 if in_main else 6,)
            trained = trial.patch_size == accuracy[0].patch_size and in_main
            return (5 if trial.compiled else 2 if trained else 4,)

        return [(worth(trial), trial) for trial in (*accuracy, *self.cost(), *self.latency())]

    def _trial(self, kind: str, mixer: MixerSpec, size: Any, net: Net | None = None, **fields: Any) -> Trial:
        """One trial, of the mixer's own net where no other is given."""
        request = self.request
        own = (
            {name: self.asked(name) for name in ("dim", "depth", "match", "coordinates")}
            | self.size_fields(size)
            | self.text_fields()
            | {"precision": self.precision}
            | fields
        )
        # without autocast there is nothing else than float32
        own["residual"] = (request.residual or own["precision"]) if own["precision"] == "bfloat16" else "float32"
        trial = Trial(
            kind=kind,
            mixer=mixer.recorded,
            mixer_source=source_of(mixer),
            mixer_version=version_of(mixer),
            dataset=self.dataset,
            dataset_source=self.dataset_source if KINDS[kind].trains else self.own_source,
            profile=self.profile_name,
            norm=self.usual[0],
            positions=self.usual[1],
            device=self.device,
            threads=self.threads,
            **own,
        )
        norm, positions = self._own_net(trial) if net is None else net
        trial = dataclasses.replace(trial, norm=norm, positions=positions)
        check_that_it_builds(mixer, trial.dim, trial.depth, trial.grid)
        return matched(trial) if trial.match != "width" else trial
