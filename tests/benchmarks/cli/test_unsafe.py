"""What comes from outside runs no code, writes nowhere else, and is shown as the text that it is."""

from __future__ import annotations

import ast
import io
import os
import pickle
import tarfile
from pathlib import Path

import pytest
import torch

from benchmarks.cli import main as cli
from benchmarks.contract.errors import printable
from benchmarks.contract.record import Record
from benchmarks.contract.trial import Trial
from benchmarks.report.build import write_report
from benchmarks.tasks import archive
from benchmarks.tasks.images import cifar
from benchmarks.tasks.task import build_net
from benchmarks.training.checkpoint import UnreadableCheckpoint, resume
from benchmarks.training.train import make_optimizer

ROOT = Path(__file__).resolve().parents[3]
TRIAL = Trial(
    kind="accuracy", mixer="dct", dataset="constellations", image_size=16, patch_size=2, dim=8, depth=1, epochs=1,
    lr=0.1,
)  # fmt: skip
NAMES = ["a|b`c", "<script>alert(1)</script>", "two\nlines\r\n# heading", "\x1b[31mred\x1b[0m\x07", "[x](javascript:1)",
         "../../../etc/passwd", "<img src=x onerror=alert(1)>", "$\\frac{", "*bold* ~~x~~", "a" * 900]  # fmt: skip


class Bomb:
    """Runs code wherever it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def test_a_checkpoint_with_code_in_it_is_refused_and_runs_nothing(tmp_path):
    path, mark = tmp_path / "c.pt", tmp_path / "mark"
    torch.save({"trial": TRIAL.to_dict(), "results_version": "0.1", "net": Bomb(mark)}, path)
    net = build_net(TRIAL)
    with pytest.raises(UnreadableCheckpoint, match="UnpicklingError"):
        resume(TRIAL, path, net, make_optimizer(net, TRIAL))
    assert not mark.exists()


def test_a_checkpoint_with_a_flipped_bit_in_a_tensor_is_refused(tmp_path):
    path = tmp_path / "c.pt"
    marked = torch.full((64,), 1.2345678)
    torch.save({"trial": TRIAL.to_dict(), "results_version": "0.1", "net": marked}, path)
    content = bytearray(path.read_bytes())
    content[content.index(marked.numpy().tobytes()) + 5] ^= 1
    path.write_bytes(content)
    torch.load(path, weights_only=True)  # PyTorch itself takes it
    net = build_net(TRIAL)
    with pytest.raises(UnreadableCheckpoint, match="wrong checksum"):
        resume(TRIAL, path, net, make_optimizer(net, TRIAL))


def test_a_data_set_with_code_in_it_runs_nothing(tmp_path):
    mark = tmp_path / "mark"
    with pytest.raises(pickle.UnpicklingError, match="no place in a data set"):
        cifar.decode_pickle(pickle.dumps({"data": Bomb(mark), "fine_labels": []}))
    assert not mark.exists()


@pytest.mark.parametrize("how", ["above", "absolute", "link", "device"])
def test_an_archive_writes_nothing_outside_its_folder(tmp_path, how):
    folder = tmp_path / "folder"
    folder.mkdir()
    member = tarfile.TarInfo({"above": "../mark", "absolute": str(tmp_path / "mark")}.get(how, "mark"))
    member.size = 0 if how in ("link", "device") else 1
    if how == "link":
        member.type, member.linkname = tarfile.SYMTYPE, "../../mark"
    if how == "device":
        member.type = tarfile.FIFOTYPE
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
        tar.addfile(member, io.BytesIO(b"x"))
    before = sorted(tmp_path.iterdir())
    if how == "absolute":  # made one within the folder, as tar does
        archive.extract(tmp_path / "a.tar.gz", folder)
    else:
        with pytest.raises(tarfile.FilterError):
            archive.extract(tmp_path / "a.tar.gz", folder)
    assert sorted(tmp_path.iterdir()) == before


def calls() -> list[tuple[str, str, dict[str, str]]]:
    """Every call in the suite's own code: file, function as written, keyword arguments."""
    found = []
    for path in [*(ROOT / "benchmarks").rglob("*.py"), *(ROOT / "mixers").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                keywords = {k.arg: ast.unparse(k.value) for k in node.keywords if k.arg}
                found.append((path.name, ast.unparse(node.func), keywords))
    return found


def test_no_call_in_the_code_runs_what_it_reads():
    found = calls()
    assert {"torch.load", "np.load", "subprocess.run"} <= {name for _, name, _ in found}
    for path, name, keywords in found:
        place = f"{path}: {name}"
        assert name not in ("eval", "exec", "os.system", "os.popen", "pickle.load", "pickle.loads", "yaml.load"), place
        assert name != "torch.load" or keywords.get("weights_only") == "True", place
        assert name != "np.load" or keywords.get("allow_pickle") == "False", place
        assert not name.endswith((".extractall", ".extract")) or keywords.get("filter") == "'data'", place
        assert keywords.get("shell") is None, place


def save(results: Path, mixer: str, kind: str = "accuracy", status: str = "ok") -> None:
    own = {"kind": kind, "mixer": mixer, "epochs": 1 if kind == "accuracy" else None}
    trial = Trial(**TRIAL.to_dict() | own)
    Record(
        id=trial.id(), kind=kind, status=status, reason=None if status == "ok" else f"it said: {mixer}", trial=trial,
        metrics={"test_top1_percent": 20.0, "val_top1_percent": 20.0, "params": 1000} if status == "ok" else {},
        history=[{"epoch": 1, "val_top1_percent": 20.0}] if kind == "accuracy" and status == "ok" else [],
        environment={"torch": "2", "device": "cpu", "cpu": NAMES[1]}, code={"commit": None, "dirty": None},
        started="2026-01-01T00:00:00+00:00", ended="2026-01-01T00:00:01+00:00",
    ).save(results / "records")  # fmt: skip


def test_a_report_shows_any_name_as_text_and_writes_nowhere_else(tmp_path):
    results = tmp_path / "deep" / "er" / "results"
    for name in NAMES:
        save(results, f"file:{name}")
        save(results, f"file:{name}", kind="cost", status="error")
    written = write_report(results)
    assert all(path.resolve().is_relative_to(results.resolve()) for path in written)
    assert {p.name for p in tmp_path.iterdir()} == {"deep"}
    texts = {path.name: path.read_text() for path in written if path.suffix in (".md", ".svg")}
    assert {"summary.md", "cost.md", "failures.md"} <= set(texts)
    for name, text in texts.items():
        if name.endswith(".svg"):
            assert "<script" not in text and "<img" not in text
            continue
        rows = [line for line in text.splitlines() if line.startswith("|")]
        assert len({line.replace(r"\|", "").count("|") for line in rows}) == 1  # no cell breaks out of its column
        assert len(rows) >= 2 + len(NAMES)
        assert "<" not in text and "\x1b" not in text and "\x07" not in text
        assert "\n# heading" not in text and "[x](" not in text
        assert all(line.isprintable() for line in text.splitlines())


def test_nothing_that_is_printed_moves_a_terminal(tmp_path, capsys):
    assert printable("a\x1b[2Jb\r\nc\x00\u202e") == "a[2Jb c"
    save(tmp_path, NAMES[3], status="error")
    assert cli.main(["status", "--results", str(tmp_path)]) == 0
    assert cli.main(["train", "--mixer", NAMES[3]]) == 2
    assert cli.main(["\x1b[31m"]) == 2
    (tmp_path / "records" / "\x1b[31m.json").write_text("x")
    assert cli.main(["validate", str(tmp_path)]) == 1
    assert cli.main(["report", "--results", str(tmp_path)]) == 0  # of the other record
    shown = capsys.readouterr()
    assert all(line.isprintable() for line in (shown.out + shown.err).splitlines())
    assert "red" in shown.out
