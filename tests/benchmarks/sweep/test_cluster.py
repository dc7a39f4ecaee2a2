"""Training runs on a Ray cluster of several nodes on this machine."""

from __future__ import annotations

import builtins

import pytest

from benchmarks.cli import main as cli
from benchmarks.contract.errors import UserError
from benchmarks.plan.trials import Plan, Request
from benchmarks.sweep.cluster import measure_on_node, run_on_cluster
from benchmarks.sweep.run import Runner

SMALL = ["--profile", "quick", "--device", "cpu", "--threads", "1", "--dim", "8", "--depth", "1", "--epochs", "2"]


def trials_of(mixers: str, seeds: int, epochs: int = 2, images: int = 300):
    request = Request(
        **dict(mixer=mixers, seed=tuple(range(seeds)), epochs=epochs, train_images=images),  # type: ignore[arg-type]
        **dict(profile="quick", device="cpu", threads=1, dim=8, depth=1),  # type: ignore[arg-type]
    )
    return Plan(request).accuracy()


def test_without_ray_one_line_says_what_to_install(tmp_path, capsys, monkeypatch):
    real = builtins.__import__

    def no_ray(name, *rest, **options):
        if name == "ray":
            raise ImportError(name)
        return real(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", no_ray)
    assert cli.main(["train", "--mixer", "dct", *SMALL, "--ray", "auto", "--results", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "pip install 'token-mixers[ray]'" in line


def test_a_node_that_does_not_see_the_results_folder_is_told(tmp_path):
    (trial,) = trials_of("conv1x1", 1)
    folders = str(tmp_path / "results"), str(tmp_path)
    token = str(tmp_path / "nowhere" / "token")
    said, now = measure_on_node(trial.to_dict(), [], None, *folders, [], None, (), token, None)
    assert said and "all nodes share" in said and not now and not (tmp_path / "results").exists()


def test_a_record_that_a_lost_task_wrote_is_not_measured_again(tmp_path, monkeypatch):
    (trial,) = trials_of("conv1x1", 1, epochs=1)
    record = Runner(tmp_path, tmp_path, own_process=False).measure(trial)
    monkeypatch.setattr(Runner, "measure", lambda *a: pytest.fail("measured again"))
    arguments = trial.to_dict(), [], None, str(tmp_path), str(tmp_path), ["error"], None, (), str(tmp_path)
    assert measure_on_node(*arguments, None) == (None, False)
    monkeypatch.setattr(Runner, "measure", lambda self, trial: None)
    assert measure_on_node(*arguments, record.started) == (None, True)


@pytest.fixture(scope="module")
def cluster():
    """Two nodes of one core each, as processes on this machine."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'token-mixers[ray]'")
    from ray.cluster_utils import Cluster

    memory = {"object_store_memory": 80 * 2**20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, **memory})
    cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20)
    yield cluster
    cluster.shutdown()


@pytest.mark.slow
def test_a_crash_on_the_cluster_is_a_record_and_the_others_go_on(cluster, tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)  # which is what "auto" means then
    plugin = tmp_path / "crash.py"
    plugin.write_text(
        "import os, signal\nfrom mixers import Mixer\n\n\nclass Crash(Mixer):\n"
        "    def forward(self, x):\n        if self.training and len(x) == 32:\n"
        "            os.kill(os.getpid(), signal.SIGSEGV)\n        return x * 1\n\n"
        "    def flops(self):\n        return 0\n"
    )
    trials = trials_of(f"{plugin}:Crash,conv1x1", 1)
    done = run_on_cluster("auto", trials, tmp_path / "results", tmp_path)
    by_mixer = {r.record.trial.mixer: r.record for r in done}
    assert by_mixer["conv1x1"].status == "ok"
    assert by_mixer["crash:Crash"].status == "error" and "SIGSEGV" in str(by_mixer["crash:Crash"].reason)


@pytest.mark.slow
def test_where_no_cluster_answers_one_line_says_so(tmp_path):
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'token-mixers[ray]'")
    with pytest.raises(UserError, match=r"no Ray cluster answers at '127.0.0.1:1'.*ray start --head"):
        run_on_cluster("127.0.0.1:1", trials_of("conv1x1", 1), tmp_path, tmp_path)
