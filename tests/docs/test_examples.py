"""The Python of docs/python.md runs as it stands there, block after block."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_examples_of_the_page_on_python_run(tmp_path, monkeypatch):
    text = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    names: dict[str, object] = {"__name__": "python_md"}
    for number, block in enumerate(blocks, 1):
        exec(compile(block, f"docs/python.md, block {number}", "exec"), names)
    assert len(blocks) >= 7
    assert names["mixer"].out_channels == 128  # type: ignore[attr-defined]
    assert names["y"].shape == (1, 128, 32, 32)  # type: ignore[attr-defined]
    assert names["encoder"].projection is None and names["fnet"].projection is not None  # type: ignore[attr-defined]
    assert sorted(set(names["everything"]["mixer"])) == ["dct"]  # type: ignore[index]
    assert names["logits"].shape == (4, 10)  # type: ignore[attr-defined]
    shutil.rmtree(str(names["results"]))
