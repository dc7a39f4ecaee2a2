"""Training runs on a Ray cluster: `RAY=auto` or `RAY=ADDRESS`.

Each accuracy or tuning trial is one Ray task that asks for the CPU cores or the GPU that the trial needs. The task does
what a run on one machine does for that trial, in the same results folder: it takes the trial's lock, goes on from its
checkpoint, and writes its record. So that folder must lie on storage that all nodes share, and a task that Ray starts
again after its node died goes on from the last epoch. Cost and latency trials stay here, latency last, when the cluster
has done its work and the machine is quiet.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.contract import called
from benchmarks.contract.errors import UserError
from benchmarks.contract.facts.datasets import handed_on, take_over
from benchmarks.contract.facts.devices import DEVICES
from benchmarks.contract.facts.kinds import KINDS
from benchmarks.contract.record import SETTINGS
from benchmarks.contract.trial import Trial, varied
from benchmarks.machine.device import set_math_mode
from benchmarks.sweep.bar import Bar
from benchmarks.sweep.one_trial import Measured, name_of
from benchmarks.sweep.process import heartbeat_path
from benchmarks.sweep.progress import outcome_line
from benchmarks.sweep.run import Result, Runner
from mixers.registry import mixer_entry, places_of

MAX_RETRIES = 10  # of one trial, each after the death of a worker or a node
SENT = "TOKEN_MIXERS_SETTINGS"  # their names where the command runs
LOOK_EVERY_S = 1.0
ANSWER_TIMEOUT_S = 30

log = logging.getLogger(__name__)


def run_on_cluster(
    address: str,
    trials: list[Trial],
    results: Path,
    data_dir: Path,
    retry: Iterable[str] = (),
    timeout_s: float | None = None,
    log_kinds: Sequence[str] = (),
) -> list[Result]:
    """Measures every trial that has no record, training runs on the cluster; what `Runner.run` returns.

    Raises:
        UserError: Ray is not installed, no cluster answers, or the nodes do not see the results folder.
    """
    runner = Runner(results.resolve(), data_dir.resolve(), retry, timeout_s, log_kinds=log_kinds)
    ray = _connect(address)
    try:
        trained = list(dict.fromkeys(trial for trial in trials if KINDS[trial.kind].trains))
        timed = [trial for trial in trials if KINDS[trial.kind].timed]
        cost = [trial for trial in trials if trial not in trained and trial not in timed]
        done = runner.run(cost) if cost else []
        done += _train_all(ray, runner, trained)
    finally:
        ray.shutdown()
    return done + (runner.run(timed) if timed else [])


def _connect(address: str) -> Any:
    try:
        import ray
    except ImportError as error:
        what = called.option("ray")
        raise UserError(f"{what} needs Ray, which is not installed; type: pip install 'token-mixers[ray]'") from error
    status = [sys.executable, "-m", "ray.scripts.scripts", "status", "--address", address]
    try:
        if not address.startswith("ray://"):  # Ray itself asks a cluster that has gone again and again, for minutes
            subprocess.run(status, capture_output=True, check=True, timeout=ANSWER_TIMEOUT_S)
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, namespace="token-mixers")
    except Exception as error:  # Ray has many, and no common one
        raise UserError(
            f"no Ray cluster answers at {address!r} ({type(error).__name__}); start one by `ray start --head`, or give "
            "its address"
        ) from error
    return ray


def _train_all(ray: Any, runner: Runner, trials: list[Trial]) -> list[Result]:
    """Training runs as tasks, in the order of the list as far as the cluster's cores or GPUs go."""
    before = {trial: runner.load(trial) for trial in trials}
    results = [Result(r, False) for r in before.values() if r is not None and not runner.again(r)]
    todo = [trial for trial, r in before.items() if r is None or runner.again(r)]
    if not todo:
        return results
    _say_what_never_fits(ray, todo)
    token = runner.checkpoints / f".shared-{uuid.uuid4().hex}"  # a task that does not see it is told so
    token.touch()
    # no `max_calls`: workers are used again, since each trial has a process of its own in them
    task = ray.remote(max_retries=MAX_RETRIES, retry_exceptions=False)(measure_on_node)
    pending, more = {}, varied(trials)
    for trial in todo:
        gpus = 1 if DEVICES[trial.device].is_gpu else 0
        options = task.options(
            num_cpus=trial.threads, num_gpus=gpus, name=trial.describe(more), runtime_env={"env_vars": _environment()}
        )
        own = handed_on(trial.dataset, trial.corpus)
        arguments = trial.to_dict(), _plugins(trial), own, str(runner.records.parent), str(runner.data_dir)
        old = before[trial]
        # what the record said when this run began, so that one that a lost task wrote is not measured again
        stale = None if old is None else old.started
        pending[
            options.remote(*arguments, sorted(runner.retry), runner.timeout_s, runner.log_kinds, str(token), stale)
        ] = trial
    log.info("on the cluster: %d training runs, %d already measured", len(todo), len(results))
    bar = Bar()
    try:
        while pending:
            ready, _ = ray.wait(list(pending), num_returns=1, timeout=LOOK_EVERY_S)
            beating = [
                trial for trial in pending.values() if heartbeat_path(runner.checkpoints, name_of(trial)).exists()
            ]
            running = "; ".join(trial.describe(more).removeprefix("accuracy ") for trial in beating)
            bar.show(
                1 - len(pending) / len(todo), f"{len(results)} of {len(trials)}, {len(beating)} running: {running}"
            )
            for reference in ready:
                trial = pending.pop(reference)
                result = _result(ray, runner, reference, trial)
                results.append(result)
                log.info(
                    "[%d/%d] %s: %s", *(len(results), len(trials), trial.describe(more), outcome_line(result.record))
                )
    finally:
        bar.close()
        for reference in pending:
            ray.cancel(reference, force=True)
        token.unlink(missing_ok=True)
    return results


def _result(ray: Any, runner: Runner, reference: Any, trial: Trial) -> Result:
    """What a task that has ended left in the results folder.

    Raises:
        UserError: as the task said.
    """
    try:
        refused, measured_now = ray.get(reference)
    except ray.exceptions.RayError as error:
        reason = f"the Ray task failed {MAX_RETRIES + 1} times: {type(error).__name__}"
        if isinstance(error, ray.exceptions.RayTaskError):
            reason = f"the Ray task failed: {type(error.cause).__name__}"
        return Result(runner.write(trial, Measured("error", reason)), True)
    if refused is not None:
        raise UserError(refused)
    record = runner.load(trial)
    if record is None:
        raise UserError(f"the record of {trial.describe()} is not in {runner.records}, where its task wrote it")
    return Result(record, measured_now)


def measure_on_node(
    trial: dict[str, Any],
    plugins: list[str],
    own_data: dict[str, Any] | None,
    results: str,
    data_dir: str,
    retry: list[str],
    timeout_s: float | None,
    log_kinds: Sequence[str],
    token: str,
    stale: str | None,
) -> tuple[str | None, bool]:
    """What a task does: measures one trial and writes its record.

    Args:
        stale: when the record began that is to be measured again, if there is one.

    Returns:
        What is wrong with the input, if something is, and whether the trial was measured by this task.
    """
    if not Path(token).exists():
        what = f"{called.option('results')} must name a folder that all nodes share"
        return f"a node does not see {Path(token).parent.parent}; {what}", False
    _drop_settings_of_ray()
    try:
        for plugin in plugins:
            mixer_entry(plugin)
        take_over(own_data)
        runner = Runner(Path(results), Path(data_dir), retry, timeout_s, log_kinds=log_kinds)
        wanted = Trial.from_dict(trial)
        set_math_mode(wanted.threads)
        with runner.lock(wanted):  # waits where another run is at it
            record = runner.load(wanted)
            if record is not None and record.started != stale:
                return None, False
            runner.remove_leftovers(wanted)
            runner.measure(wanted)
        return None, True
    except ValueError as error:  # UserError and MixerError, which Ray would wrap
        return " ".join(str(error).split()), False


def _plugins(trial: Trial) -> list[str]:
    """Where the trial's plug-ins are, files by their whole path."""
    places = places_of(trial.mixer)
    return [str(Path(place).resolve()) if ".py:" in place or place.endswith(".npy") else place for place in places]


def _environment() -> dict[str, str]:
    """The settings of this process that bear on times and memory, and the places that modules are imported from."""
    settings = {name: value for name, value in os.environ.items() if name.startswith(SETTINGS)}
    paths = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
    return settings | {"PYTHONPATH": paths, SENT: " ".join(settings), called.VARIABLE: called.way()}


def _drop_settings_of_ray() -> None:
    """Ray sets OMP_NUM_THREADS for its workers; the trial says how many threads it takes, as it does at home."""
    if SENT in os.environ:
        for name in [name for name in os.environ if name.startswith(SETTINGS) and name not in os.environ[SENT].split()]:
            del os.environ[name]


def _say_what_never_fits(ray: Any, trials: list[Trial]) -> None:
    """Warns where no node that is there now could take a trial; a cluster may still grow."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    threads = max(trial.threads for trial in trials)
    most = max((node.get("CPU", 0) for node in nodes), default=0)
    if threads > most:
        fitting = called.option("threads", most)
        log.warning("no node has %d CPU cores free for one trial, the most is %d; %s fits", threads, most, fitting)
    if any(DEVICES[trial.device].is_gpu for trial in trials) and not any(node.get("GPU", 0) for node in nodes):
        log.warning("no node has a GPU; the trials wait until one is there")
