"""Malformed inputs, and what the suite makes of them: `python tests/reliability/fuzz.py OUT` runs 2,000.

Command lines, notations of mixers, records, predictions, checkpoints and CIFAR-100 files are truncated, bit-flipped,
replaced by HTML, given other sizes and types. Each goes through `benchmarks.cli.main`. Counted are tracebacks, hangs
(over 20 s) and wrong results: a broken input taken as good, a mistake that is not answered in one line, or an input
file changed. All three have to be 0. Case i of seed s is the same on every machine.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import dataclasses
import io
import json
import random
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from benchmarks.cli import main as cli
from benchmarks.contract.record import Record, write_json
from benchmarks.sweep import run
from benchmarks.tasks.images import cifar
from benchmarks.tasks.images.common import labels_of_test
from benchmarks.tasks.task import Data, load_data

CASES, HANG_S = 2000, 20
HTML = b"<!DOCTYPE html><html><body><h1>502 Bad Gateway</h1></body></html>\n"
TINY = ["--profile", "quick", "--device", "cpu", "--threads", "1", "--dim", "8", "--depth", "1", "--epochs", "1"]
TRAIN = ["train", "--mixer", "dct", *TINY, "--train-images", "200"]


class Accepted(BaseException):
    """A command line came through to where measuring would begin."""


class Hang(BaseException):
    """A case took too long."""


@dataclasses.dataclass
class Finding:
    """One case that went wrong."""

    seed: int
    index: int
    kind: str
    what: str  # traceback, hang or wrong result
    text: str


# ---- what is broken, and how


def broken_bytes(content: bytes, draw: random.Random) -> tuple[str, bytes]:
    """One way of being damaged; never the content itself."""
    while True:
        how = draw.choice(["truncated", "flipped", "html", "empty", "longer", "zeros", "overwritten", "doubled"])
        changed = bytearray(content)
        if how == "truncated":
            changed = changed[: draw.randrange(len(content))]
        elif how == "flipped":
            for _ in range(draw.choice([1, 1, 2, 16])):
                changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
        elif how == "html":
            changed = bytearray(HTML)
        elif how == "empty":
            changed = bytearray()
        elif how == "longer":
            changed += draw.randbytes(draw.randrange(1, 4000))
        elif how == "zeros":
            changed = bytearray(len(content))
        elif how == "overwritten":
            start = draw.randrange(len(changed))
            part = draw.randbytes(draw.randrange(1, 64))
            changed[start : start + len(part)] = part
        elif how == "doubled":
            changed += content
        if changed != content:
            return how, bytes(changed)


ODD_VALUES: list[Any] = [
    None, True, -1, 0, 2**70, 1e308, 0.5, "", "x", "../../x", "\x1b[31m", "a" * 100_000, [], {}, [[]], {"a": None},
]  # fmt: skip


def broken_json(content: Any, draw: random.Random) -> Any:
    """The same structure with one value replaced, one key removed, added or renamed."""
    changed = json.loads(json.dumps(content))
    place: Any = changed
    while True:
        key = draw.choice(sorted(place)) if isinstance(place, dict) else draw.randrange(len(place))
        if isinstance(place[key], dict | list) and place[key] and draw.random() < 0.6:
            place = place[key]
            continue
        how = draw.choice(["replace", "remove", "add"])
        if how == "replace":
            place[key] = draw.choice(ODD_VALUES)
        elif how == "remove":
            del place[key]
        elif isinstance(place, dict):
            place["surprise"] = draw.choice(ODD_VALUES)
        else:
            place.append(draw.choice(ODD_VALUES))
        return changed


BAD_VALUES = {
    "--epochs": ["0", "-1", "x", "1e3", "", "1.5", "999999999", "nan"],
    "--seed": ["-1", ",", "a,b", "99999999999", "1.0", "0,,x"],
    "--dim": ["0", "7", "9", "-8", "x", "999999999", "8.0"],
    "--depth": ["0", "-1", "x", "100000"],
    "--lr": ["nan", "inf", "-inf", "-1", "x", "1e99", "0"],
    "--weight-decay": ["nan", "-0.1", "x", "1e9"],
    "--batch-size": ["0", "-4", "x", "1e6", "99999999"],
    "--image-size": ["0", "17", "x", "16x", "x16", "16x16x16", "-16", "99999", "1e2", ",", "16,17"],
    "--patch-size": ["0", "3", "-2", "x", "65", "1000"],
    "--train-images": ["1", "-5", "x", "1e9", "99999999999"],
    "--threads": ["0", "-1", "x", "100000"],
    "--rounds": ["0", "-1", "x", "5000"],
    "--dataset": ["cifra10", "", "CIFAR100", "../x"],
    "--profile": ["fast", "", "QUICK"],
    "--match": ["size", "", "flop"],
    "--norm": ["batch", "", "none"],
    "--device": ["tpu", "", "cuda:99", "gpu"],
    "--precision": ["float16", "", "fp32"],
    "--augment": ["more", "", "all"],
    "--retry": ["all", "", "no"],
    "--log": ["file", ",", "tensorboard,x"],
}
PLANNING = ["train", "cost", "latency", "bench-all", "tune"]
OTHERS = ["report", "list", "speed", "spectracles", "bench-peers", "atlas", "status", "validate"]


def broken_command(draw: random.Random) -> list[str]:
    """A command line with one mistake in it, at least."""
    how = draw.choice(["value", "value", "value", "value", "flag", "verb", "missing", "stray"])
    if how == "value":
        flag = draw.choice(sorted(BAD_VALUES))
        verb = draw.choice(PLANNING)
        bad = [f"{flag}={draw.choice(BAD_VALUES[flag])}"]
        usual = [*TINY, "--mixer", draw.choice(["dct", "attention", "fft*", "2xdct+1xpool"])]
        at = draw.randrange(0, len(usual), 2)
        return [verb, *usual[:at], *usual[at:], *bad]
    word = "".join(draw.choices("abz-=_ü\x1b\n\0 /*'\"$", k=draw.randrange(1, 12)))
    if how == "flag":
        return [draw.choice(PLANNING + OTHERS), draw.choice(["--", "--x", "---", "--mixers", "-q"]) + word + "?"]
    if how == "verb":
        return [word + "?", *TINY]
    if how == "missing":
        return [draw.choice(PLANNING), *TINY, draw.choice(sorted(BAD_VALUES))]
    return [draw.choice([*PLANNING, *OTHERS[:-1]]), "stray?" + word, *TINY]


def broken_mixer(draw: random.Random) -> str:
    """A notation that stands for no mixer, at depth 1 and dim 8."""
    word = "".join(draw.choices("abz_0(),=:+x*[]{}'\"\\ü\x1b\n ", k=draw.randrange(1, 9)))
    name = draw.choice(["dct", "attention", "fft_complex", "random", "conv_mixer", "performer"])
    return draw.choice([
        f"{name}?{word}", f"{name}({word}", f"{name}(no_option={word.strip() or 1})", f"({name}", f"{name})",
        f"0x{name}", f"3x{name}", f"1x{name}+", f"+{name}", f"{name}+{name}", f"-1x{name}", f"1x{name}+2x{word}?",
        f"{name}((",
        f"no_such:{word}", f"no_such_{word}.py:M", "no.such.module:M", "json:loads", "os:system", f"{name}:M", ":",
        "::", f"{name}.py", f"zz{word}*", "attention(heads=0)", "attention(heads=3)", "attention(heads=-1)",
        "hybrid_no", "attention(heads=x)",
        "attention(heads=1e9)", "attention(heads=__import__('os'))", "attention(heads=2,heads=2)",
        "conv_mixer(kernel_size=0)", "conv_mixer(kernel_size=-3)", "conv_mixer(kernel_size=2)", "mlp_mixer(hidden=0)",
        ",", "", " ", "dct,,nope?", "dct;pool",
    ])  # fmt: skip


# ---- the cases


class Fuzzer:
    """Good inputs of every kind in a folder of their own, and cases made of them.

    Args:
        folder: to work in.
        seed: of all cases.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.seed = folder, seed
        self.kinds: dict[str, Callable[[random.Random, Path], str | None]] = {
            "command line": self.command_line,
            "mixer": self.mixer,
            "record": self.record,
            "predictions": self.predictions,
            "checkpoint": self.checkpoint,
            "cifar": self.cifar,
        }
        with self._measuring():
            code, said, _ = self._call([*TRAIN, "--results", str(folder / "good")])
            assert code == 0, said
            (self.good,) = (folder / "good" / "records").glob("*.json")
            self._save_checkpoint()
        self.binaries = {
            split: b"".join(
                bytes([0, i % 100]) + random.Random(i).randbytes(cifar.RECORD_BYTES - 2) for i in range(200)
            )
            for split in ("train", "test")
        }

    def _save_checkpoint(self) -> None:
        """The good checkpoint, of the run's end, and what the run comes to from it."""
        kept: list[bytes] = []
        from benchmarks.training import train

        save = train._save

        def save_and_keep(trial: Any, path: Path, *rest: Any) -> None:
            save(trial, path, *rest)
            kept.append(path.read_bytes())

        with mock.patch.object(train, "_save", save_and_keep):
            assert self._call([*TRAIN, "--results", str(self.folder / "again")])[0] == 0
        self.checkpoint_bytes = kept[-1]

    def case(self, index: int) -> Finding | None:
        """Runs one case."""
        draw = random.Random(f"{self.seed}-{index}")
        kind = list(self.kinds)[index % len(self.kinds)]
        room = self.folder / "case"
        shutil.rmtree(room, ignore_errors=True)
        room.mkdir()
        signal.signal(signal.SIGALRM, _hang)
        signal.alarm(HANG_S)
        try:
            wrong = self.kinds[kind](draw, room)
        except Hang:
            return Finding(self.seed, index, kind, "hang", f"over {HANG_S} s")
        except Exception:
            return Finding(self.seed, index, kind, "traceback", traceback.format_exc()[-1500:])
        finally:
            signal.alarm(0)
        return Finding(self.seed, index, kind, "wrong result", wrong) if wrong else None

    def command_line(self, draw: random.Random, room: Path) -> str | None:
        arguments = broken_command(draw)
        with mock.patch.object(run.Runner, "run", _accept):
            return self._refused([*arguments, f"--results={room / 'r'}"])

    def mixer(self, draw: random.Random, room: Path) -> str | None:
        verb, text = draw.choice(["train", "cost", "latency"]), broken_mixer(draw)
        with mock.patch.object(run.Runner, "run", _accept):
            return self._refused([verb, f"--mixer={text}", *TINY, f"--results={room / 'r'}"])

    def record(self, draw: random.Random, room: Path) -> str | None:
        content = self.good.read_bytes()
        original = json.loads(content)
        if draw.random() < 0.5:
            how, changed = broken_bytes(content, draw)
        else:
            how, changed = "restructured", json.dumps(broken_json(original, draw)).encode()
        with contextlib.suppress(ValueError):
            read = json.loads(changed)
            if repr(read) in (repr(original), repr({k: v for k, v in original.items() if k != "checksum"})):
                return None  # white space alone, or a record as before there were checksums
        path = self._results(room, self.good.name, changed)
        verb = draw.choice(["report", "validate", "train"])
        if verb == "train":
            with self._measuring():
                return self._set_aside_and_measured_again(room, path, changed, f"a {how} record")
        wrong = self._refused([verb, "--results", str(room)], (1,) if verb == "validate" else (2,), most_lines=2)
        return (wrong and f"{verb} of a {how} record: {wrong}") or _changed(path, changed)

    def predictions(self, draw: random.Random, room: Path) -> str | None:
        content = self.good.with_suffix(".npy").read_bytes()
        how, changed = broken_bytes(content, draw)
        if draw.random() < 0.3:
            odd: Any = draw.choice([np.zeros(3, np.uint8), np.zeros(2000), np.array([{}], object), np.uint8(3)])
            file = io.BytesIO()
            np.save(file, odd, allow_pickle=True)
            how, changed = "other", file.getvalue()
        with contextlib.suppress(Exception):
            old, new = (np.load(io.BytesIO(c), allow_pickle=False) for c in (content, changed))
            truth = labels_of_test(room, "mosaics", (16, 16))
            if new.dtype == old.dtype and new.shape == old.shape and (new == truth).sum() == (old == truth).sum():
                return (
                    None  # a flip between two wrong classes changes no result, and bytes behind the array none either
                )
        self._results(room, self.good.name, self.good.read_bytes())
        path = self._results(room, self.good.with_suffix(".npy").name, changed)
        wrong = self._refused(["validate", str(room)], codes=(1,))
        return (wrong and f"{how} predictions: {wrong}") or _changed(path, changed)

    def checkpoint(self, draw: random.Random, room: Path) -> str | None:
        how, changed = broken_bytes(self.checkpoint_bytes, draw)
        path = room / "checkpoints" / f"{self.good.stem}.pt"
        path.parent.mkdir()
        path.write_bytes(changed)
        with self._measuring():
            return self._set_aside_and_measured_again(room, path, changed, f"a {how} checkpoint")

    def cifar(self, draw: random.Random, room: Path) -> str | None:
        broken, archive = draw.choice(["train", "test"]), draw.random() < 0.2
        files = {s: cifar.SourceFile(f.name, _sha1(self.binaries[s]), "sha1", len(self.binaries[s]))
                 for s, f in cifar.BINARY_FILES.items()}  # fmt: skip
        folder = room / "data" / cifar.BINARY_FOLDER
        folder.mkdir(parents=True)
        how, changed = broken_bytes(self.binaries[broken], draw)
        if archive:
            folder.rmdir()
            path = room / "data" / "cifar-100-python.tar.gz"
            path.write_bytes(changed)
        else:
            for split, content in self.binaries.items():
                (folder / files[split].name).write_bytes(content)
            path = folder / files[broken].name
            if draw.random() < 0.1:
                path.unlink()
            else:
                path.write_bytes(changed)
        there = path.exists()
        arguments = [*TRAIN[:-2], "--dataset", "cifar100", "--patch-size", "8", "--augment", "none"]
        arguments += ["--results", str(room / "r"), "--data-dir", str(room / "data")]
        with self._measuring(data_too=False), mock.patch.object(cifar, "BINARY_FILES", files):
            wrong = self._refused(arguments)
        return (wrong and f"a {how} {path.name}: {wrong}") or (_changed(path, changed) if there else None)

    # ---- help

    def _set_aside_and_measured_again(self, room: Path, path: Path, changed: bytes, what: str) -> str | None:
        """A broken file in the way of a training run: kept elsewhere, named, and the result the same as without it."""
        code, said, out = self._call([*TRAIN, "--results", str(room)])
        if code == 2:  # it is of another configuration, which only a user can judge
            return self._one_line(code, said, (2,)) or _changed(path, changed)
        if code != 0:
            return f"{what}: exit code {code}: {said[-300:]!r}"
        (record,) = (room / "records").glob("*.json")
        if _without_times(Record.load(record)) != _without_times(Record.load(self.good)):
            return f"{what} led to other metrics"
        kept = path.parent / "set-aside" / path.name
        if not kept.exists():  # what was changed is no part of anything that is read
            return None if path.suffix == ".pt" else f"{what} was taken as good"
        if "set-aside" not in out + said:
            return f"{what} was set aside without a word"
        return _changed(kept, changed)

    def _results(self, room: Path, name: str, content: bytes) -> Path:
        path = room / "records" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        return path

    def _refused(self, arguments: list[str], codes: tuple[int, ...] = (2,), most_lines: int = 1) -> str | None:
        """What is wrong with the answer to a broken input, if anything."""
        try:
            code, said, out = self._call(arguments)
        except Accepted:
            return f"taken as good: {arguments}"
        wrong = self._one_line(code, said or out, codes, most_lines)
        return wrong and f"{wrong}: {arguments}"

    def _one_line(self, code: int, said: str, codes: tuple[int, ...], most_lines: int = 1) -> str | None:
        if "Traceback" in said:
            raise RuntimeError(said)
        if code not in codes:
            return f"exit code {code}, not {codes[0]}: {said[-300:]!r}"
        lines = said.strip("\n").split("\n")
        sound = all(line.isprintable() and len(line) <= 3000 for line in lines)
        if code == 2 and (len(lines) > most_lines or not sound):
            return f"the answer is not {most_lines} clear line(s): {said[-300:]!r}"
        return None

    def _call(self, arguments: list[str]) -> tuple[int, str, str]:
        out, error = io.StringIO(), io.StringIO()
        with (
            contextlib.redirect_stdout(out), contextlib.redirect_stderr(error), warnings.catch_warnings(),
            mock.patch("urllib.request.urlopen", _no_network),
        ):  # fmt: skip
            warnings.simplefilter("ignore")
            try:
                code = cli.main(arguments)
            except SystemExit as end:  # argparse
                code = int(end.code or 0) if isinstance(end.code, int | None) else 1
        return code, error.getvalue(), out.getvalue()

    @contextlib.contextmanager
    def _measuring(self, data_too: bool = True) -> Iterator[None]:
        """Training without the estimate of its duration, and without drawing the images anew."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(mock.patch("benchmarks.sweep.progress.estimate_seconds", lambda trial: 1.0))
            stack.enter_context(mock.patch.object(run.OwnProcess, "call", _in_this_process))
            stack.enter_context(mock.patch.object(run, "start_server", lambda: None))
            if data_too:
                stack.enter_context(mock.patch.object(run, "load_data", _cached_data))
            yield


def _in_this_process(process: Any, function: Any, *arguments: Any, **how: Any) -> Any:
    return function(*arguments)


def _accept(*arguments: Any) -> None:
    raise Accepted


def _hang(*arguments: Any) -> None:
    raise Hang


def _no_network(*arguments: Any, **options: Any) -> None:
    raise OSError("no route to host")


DRAWN: dict[Any, Data] = {}


def _cached_data(trial: Any, data_dir: Path, device: str) -> Data:
    key = trial.dataset, trial.image_size, trial.train_images
    if key not in DRAWN:
        DRAWN[key] = load_data(trial, data_dir, device)
    d = DRAWN[key]
    return Data(d.train, d.val, d._test)


def _changed(path: Path, content: bytes) -> str | None:
    return None if path.exists() and path.read_bytes() == content else f"{path.name} was changed"


def _without_times(record: Record) -> dict[str, Any]:
    return {k: v for k, v in record.metrics.items() if not k.endswith("_s") and k != "overhead_percent"}


def _sha1(content: bytes) -> str:
    import hashlib

    return hashlib.sha1(content, usedforsecurity=False).hexdigest()


def fuzz(cases: int, seed: int) -> tuple[collections.Counter[str], list[Finding]]:
    """Runs the cases; returns how many of each kind there were, and what went wrong."""
    counts: collections.Counter[str] = collections.Counter()
    findings = []
    with tempfile.TemporaryDirectory() as name:
        fuzzer = Fuzzer(Path(name), seed)
        for index in range(cases):
            counts[list(fuzzer.kinds)[index % len(fuzzer.kinds)]] += 1
            finding = fuzzer.case(index)
            if finding:
                finding.text = finding.text.replace(name, "FOLDER")
                findings.append(finding)
                print(
                    f"case {index}, {finding.kind}, {finding.what}: {finding.text[-300:]}", file=sys.stderr, flush=True
                )
    return counts, findings


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder for the figures")
    parser.add_argument("--cases", type=int, default=CASES)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    counts, findings = fuzz(options.cases, options.seed)
    numbers = {w: sum(f.what == w for f in findings) for w in ("traceback", "hang", "wrong result")}
    content = {
        "command": f"python tests/reliability/fuzz.py OUT --cases {options.cases} --seed {options.seed}",
        "cases": dict(counts), "found": numbers, "findings": [dataclasses.asdict(f) for f in findings],
    }  # fmt: skip
    write_json(options.out / "fuzz.json", content, indent=1)
    rows = [
        f"| {kind} | {n} | "
        + " | ".join(str(sum((f.kind, f.what) == (kind, w) for f in findings)) for w in numbers)
        + " |"
        for kind, n in counts.items()
    ]
    (options.out / "fuzz.md").write_text(
        f"# Malformed inputs\n\n`{content['command']}`: {sum(counts.values()):,} cases.\n\n"
        "| input | cases | tracebacks | hangs | wrong results |\n|---|---|---|---|---|\n" + "\n".join(rows) + "\n",
        encoding="utf-8",
    )
    print(", ".join(f"{n} x {w}" for w, n in numbers.items()), f"in {sum(counts.values())} cases")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
