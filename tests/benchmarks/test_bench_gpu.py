"""The benchmark of GPUs, tried with torch on the CPU: that it runs, and that no difference goes unseen."""

from __future__ import annotations

import json

import pytest
from backend_checks import TEXT
from small_models import TINY, engine, tiny

torch = pytest.importorskip("torch", reason="torch is not installed: pip install '.[torch]'")


from bench.engines import gpu  # noqa: E402


class Off:
    """Sessions of an engine, of which one row of the `bad`th answer is wrong by one."""

    def __init__(self, of, bad):
        self.of, self.left = of, bad

    def session(self, lanes, window):
        self.inner = self.of.session(lanes, window)
        return self

    def _spoilt(self, rows):
        self.left -= 1
        if not self.left:
            next(row for lane in rows for row in lane)[7] += 1
        return rows

    def extend(self, ids):
        return self._spoilt(self.inner.extend(ids))

    def extend_tree(self, ids, parents):
        return self._spoilt(self.inner.extend_tree(ids, parents))

    def __getattr__(self, name):
        return getattr(self.inner, name)


def test_a_difference_is_found():
    compared, where = gpu.fuzz(tiny(), engine(), engine(), 2)
    assert compared > 100
    assert where == ""
    for bad, turn in ((1, "round 0, turn 0"), (8, "round 1, turn 1")):
        assert gpu.fuzz(tiny(), Off(engine(), bad), engine(), 2)[1].startswith(turn)


def test_the_command_on_the_cpu(tmp_path, capsys):
    file, out = tmp_path / "f.txt", tmp_path / "gpu.json"
    file.write_bytes(TEXT[:500])
    options = ["--device", "cpu", "--model", str(TINY), "--threads", "1", "--rounds", "1", "--seconds", "0"]
    assert gpu.main([str(file), *options, "--lanes", "1", "3", "--out", str(out)]) == 0
    assert capsys.readouterr().out.count(": equal") == 2
    record = json.loads(out.read_text())
    assert record["archive"]["differs"] == record["rows_differ"] == ""
    assert record["tokens_per_second"][0][-1] == "3 lanes"
    assert len(record["tokens_per_second"]) == 3


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_device(tmp_path):
    with pytest.raises(SystemExit, match="torch sees no CUDA device"):
        gpu.main(["--model", str(TINY), "--out", str(tmp_path / "gpu.json")])
