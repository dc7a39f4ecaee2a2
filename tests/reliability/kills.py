"""Kills a sweep at random moments, again and again, and fills its disk; then looks for what was lost or damaged.

    python tests/reliability/kills.py --kills 200 --runs 8 --out results/published/reliability

The sweep is cost and accuracy trials of small nets. It is started by its command line, killed (`kill -9` of the command
alone, of all its processes, or Ctrl-C) at a random moment, mostly while it measures, and started again; when it is
done, another begins in a new folder, until there were enough kills. After each kill, every record must be whole and
those of before must be as they were. At the end, records, predictions and weights must be those of an undisturbed run
bit for bit, and so must the tables; times of day and durations are left aside. Then `--runs` processes measure the same
sweep in one folder at once, and each trial must be measured once. Last, a file system of one megabyte runs full in each
step that writes: the command must say so in one line and leave alone what was there, and go on when there is room.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import filecmp
import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.cli import main as cli
from benchmarks.contract.errors import UserError
from benchmarks.contract.record import Record, atomic_write, load_records
from benchmarks.report.build import write_report

ROOT = Path(__file__).resolve().parents[2]
NET = ["--profile", "quick", "--device", "cpu", "--threads", "1", "--dim", "8", "--depth", "1", "--train-images", "600"]
SWEEP = ["--mixer", "dct,conv1x1,random,fft_real", "--seed", "0,1,2", "--epochs", "4", *NET]
TRIALS = 4 * 3
LONGEST_S = 2.0  # of work before a kill
KILLS = ("command", "everything", "interrupt")
TIMED = ("_s", "seconds", "overhead_percent")


def start(verb: str, folder: Path, options: list[str], log: Path) -> subprocess.Popen:
    command = [sys.executable, "-u", "-m", "benchmarks", verb, *options, "--results", str(folder)]
    with log.open("wb") as file:
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=file, stderr=file, start_new_session=True)


def kill(process: subprocess.Popen, how: str) -> None:
    if how == "everything":
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.send_signal(signal.SIGKILL if how == "command" else signal.SIGINT)
    process.wait()


def kill_at_random(process: subprocess.Popen, log: Path, dice: random.Random) -> str | None:
    """Kills the sweep somewhere; None where it was done before."""
    anywhere = dice.random() < 0.2
    while not anywhere and process.poll() is None and "\n[" not in log.read_text(errors="replace"):
        time.sleep(0.02)
    end = time.monotonic() + dice.uniform(0, LONGEST_S * (4 if anywhere else 1))
    while process.poll() is None and time.monotonic() < end:
        time.sleep(0.005)
    if process.poll() is not None:
        return None
    how = dice.choice(KILLS)
    kill(process, how)
    return how


def sweep_with_kills(folder: Path, kills: int, dice: random.Random, seen: dict[str, Any]) -> int:
    """One sweep to its end, with at most `kills` kills; returns how many there were."""
    done = 0
    log = folder.with_suffix(".log")
    before: dict[str, bytes] = {}
    while True:
        process = start("train", folder, SWEEP, log)
        how = kill_at_random(process, log, dice) if done < kills else None
        if how is None:
            if process.wait() != 0:
                raise SystemExit(f"the sweep failed:\n{log.read_text(errors='replace')}")
            return done
        done += 1
        seen["kills"][how] = seen["kills"].get(how, 0) + 1
        after = {path.name: path.read_bytes() for path in folder.glob("records/*.json")}
        seen["records_lost_or_changed"] += sum(after.get(name) != content for name, content in before.items())
        for name in after:
            try:
                Record.load(folder / "records" / name)
            except UserError:
                seen["torn_records"] += 1
        before = after
        if done % 10 == 0:
            print(f"  {done} kills, {len(after)} of {TRIALS} records", flush=True)


NO_TIME = "2000-01-01T00:00:00+00:00"


def timeless(folder: Path) -> Path:
    """A copy of a results folder in which every time is 1."""
    copy = folder.with_name(folder.name + "-timeless")
    shutil.rmtree(copy, ignore_errors=True)

    def without(row: dict[str, Any]) -> dict[str, Any]:
        return {name: 1.0 if name.endswith(TIMED) and value is not None else value for name, value in row.items()}

    for record in load_records(folder):
        changed = dataclasses.replace(
            record,
            metrics=without(record.metrics),
            history=[without(r) for r in record.history],
            started=NO_TIME,
            ended=NO_TIME,
        )
        changed.save(copy / "records")
        predictions = f"accuracy-{record.id}.npy"
        shutil.copy(folder / "records" / predictions, copy / "records" / predictions)
        weights = f"accuracy-{record.id}.safetensors"
        (copy / "weights").mkdir(exist_ok=True)
        shutil.copy(folder / "checkpoints" / weights, copy / "weights" / weights)
    write_report(copy)
    return copy


def differing_files(one: Path, other: Path) -> list[str]:
    names = {p.relative_to(d) for d in (one, other) for p in d.rglob("*") if p.is_file() and p.suffix != ".png"}
    return sorted(
        str(name)
        for name in names
        if not ((one / name).is_file() and (other / name).is_file() and filecmp.cmp(one / name, other / name, False))
    )


def left_over(folder: Path) -> list[str]:
    wrong = [p for p in folder.rglob("*") if p.name.startswith(".") or p.suffix == ".pt" or "heartbeat" in p.name]
    return [str(p.relative_to(folder)) for p in wrong]


def run_kills(work: Path, kills: int, seed: int) -> dict[str, Any]:
    """The first part."""
    dice = random.Random(seed)
    undisturbed = work / "undisturbed"
    if start("train", undisturbed, SWEEP, work / "undisturbed.log").wait() != 0:
        raise SystemExit((work / "undisturbed.log").read_text())
    wanted = timeless(undisturbed)
    seen: dict[str, Any] = {"kills": {}, "sweeps": 0, "trials_per_sweep": TRIALS}
    seen |= {"records_lost_or_changed": 0, "torn_records": 0, "missing_records": 0, "left_over": [], "differing": []}
    done = 0
    while done < kills:
        folder = work / f"killed-{seen['sweeps']}"
        done += sweep_with_kills(folder, kills - done, dice, seen)
        seen["sweeps"] += 1
        seen["missing_records"] += TRIALS - len(load_records(folder))
        seen["left_over"] += left_over(folder)
        seen["differing"] += differing_files(timeless(folder), wanted)
        seen["set_aside"] = seen.get("set_aside", 0) + len(list(folder.rglob("set-aside/*")))
    bad = ("records_lost_or_changed", "torn_records", "missing_records", "left_over", "differing")
    return seen | {"passed": done == kills and not any(seen[name] for name in bad)}


def run_together(work: Path, runs: int) -> dict[str, Any]:
    """The second part: several commands in one folder at once."""
    folder = work / "together"
    logs = [work / f"together-{number}.log" for number in range(runs)]
    codes = [p.wait() for p in [start("train", folder, SWEEP, log) for log in logs]]
    matches = [re.search(r"(\d+) measured earlier", log.read_text()) for log in logs]
    measured = [TRIALS - int(match[1]) for match in matches if match]
    seen = {
        **{"runs": runs, "trials": TRIALS, "records": len(load_records(folder)), "measured": sum(measured)},
        **{
            "measured_by_each": measured,
            "differing": differing_files(timeless(folder), timeless(work / "undisturbed")),
        },
    }
    sound = codes == [0] * runs and seen["records"] == seen["measured"] == TRIALS
    return seen | {"passed": sound and not seen["differing"]}


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A file system of one megabyte.

    Raises:
        PermissionError: it cannot be mounted.
    """
    folder.mkdir(parents=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise PermissionError(done.stderr.strip() or "mount failed")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


def command_here(verb: str, folder: Path, options: list[str]) -> tuple[int, str]:
    """Exit code of a command, and what it said on the error stream, run in this process to spare it its start."""
    said = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
        code = cli.main([verb, *options, "--results", str(folder)])
    return code, said.getvalue()


def fill(disk: Path, leave_bytes: int) -> Path:
    """Fills the file system but for some bytes."""
    filler = disk / "filler"
    stat = os.statvfs(disk)
    filler.write_bytes(b"\0" * max(0, stat.f_bavail * stat.f_frsize - leave_bytes))
    return filler


def run_full_disk(work: Path) -> dict[str, Any]:
    """The third part: from no room at all to enough for all but the last files, in pages of 4 KiB."""
    train = ["--mixer", "conv1x1", "--seed", "5", "--epochs", "2", *NET]
    cases: list[dict[str, Any]] = []
    disk = work / "disk"

    def attempt(verb: str, options: list[str], leave: int, others: dict[Path, bytes]) -> bool:
        filler = fill(disk, leave)
        code, said = command_here(verb, disk / "results", options)
        filler.unlink()
        lines = said.strip().splitlines()
        damaged = [p.name for p, content in others.items() if not p.exists() or p.read_bytes() != content]
        told = code == 2 and len(lines) == 1 and "No space left" in lines[0]
        what = re.sub(r"(/[^\s:]+)+/", "", said.strip())[:200]
        cases.append({"verb": verb, "room_bytes": leave, "exit_code": code, "said": what, "damaged": damaged})
        cases[-1]["passed"] = not damaged and (code == 0 or told)
        return code == 0

    try:
        with small_disk(disk):
            command_here("train", disk / "results", [*train, "--mixer", "dct"])
            files = [p for p in (disk / "results").rglob("*") if p.is_file() and p.suffix != ".lock"]
            others = {p: p.read_bytes() for p in files if p.name != "config.toml"}  # that is the last command's
            for pages in range(30):
                if attempt("train", train, pages * 4096, others):
                    break
            again, _ = command_here("train", disk / "results", train)
            others |= {p: p.read_bytes() for p in (disk / "results" / "records").iterdir()}
            for pages in (0, 1, 2, 4, 8, 12, 16, 32, 48, 64, 96, 128, 144):
                if attempt("report", [], pages * 4096, others):
                    break
    except PermissionError as error:
        return {"skipped": f"no file system of one megabyte could be mounted ({error})", "passed": None}
    return {"cases": cases, "passed": again == 0 and all(case["passed"] for case in cases)}


def write(out: Path, seen: dict[str, Any], command: str) -> None:
    """The findings as JSON and as Markdown."""
    with atomic_write(out / "kills.json") as file:
        file.write(json.dumps(seen, indent=1).encode() + b"\n")
    lines = ["# Killed, crowded and out of room", "", f"    {command}", ""]
    if k := seen.get("kills"):
        lines += [
            f"- {sum(k['kills'].values())} kills ({', '.join(f'{n} {how}' for how, n in sorted(k['kills'].items()))}) "
            "over "
            f"{k['sweeps']} sweeps of {k['trials_per_sweep']} trials: {k['records_lost_or_changed']} records lost or "
            f"changed, {k['torn_records']} torn, {k['missing_records']} missing at the end, "
            f"{len(k['differing'])} records, predictions, weights or tables that differ from an undisturbed run's."
        ]
    if t := seen.get("together"):
        lines += [
            f"- {t['runs']} runs in one folder: {t['trials']} trials, {t['measured']} measured, {t['records']} records."
        ]
    if d := seen.get("full_disk"):
        told = [c for c in d.get("cases", []) if c["exit_code"] == 2]
        damaged = sum(len(case["damaged"]) for case in d.get("cases", []))
        lines += [
            f"- disk full: {d['skipped']}"
            if "skipped" in d
            else f"- disk full at {len(told)} points of training and report: {len(told)} clear lines, "
            f"{damaged} files damaged."
        ]
        lines += ["", "| verb | room (bytes) | exit code | said |", "|---|---|---|---|"]
        lines += [f"| {c['verb']} | {c['room_bytes']} | {c['exit_code']} | {c['said']} |" for c in d.get("cases", [])]
    with atomic_write(out / "kills.md") as file:
        file.write(("\n".join(lines) + "\n").encode())


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=20, help="how many; 0: leave this part out")
    parser.add_argument("--runs", type=int, default=8, help="in one folder at once; 0: leave this part out")
    parser.add_argument("--no-disk", action="store_true", help="leave the full disk out")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("reliability"), help="folder of kills.json and kills.md")
    options = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # unmounts and removes what is temporary
    seen: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        if options.kills:
            seen["kills"] = run_kills(work, options.kills, options.seed)
        if options.runs:
            if not (work / "undisturbed").exists():
                start("train", work / "undisturbed", SWEEP, work / "undisturbed.log").wait()
            seen["together"] = run_together(work, options.runs)
        if not options.no_disk:
            seen["full_disk"] = run_full_disk(work)
    flags = f"--kills {options.kills} --runs {options.runs} --seed {options.seed}"
    write(options.out, seen, f"python tests/reliability/kills.py {flags}{' --no-disk' if options.no_disk else ''}")
    print((options.out / "kills.md").read_text())
    return 0 if all(part["passed"] in (True, None) for part in seen.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
