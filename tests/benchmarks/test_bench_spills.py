"""The count of numbers that do not fit a byte."""

from __future__ import annotations

import sys
from dataclasses import replace

from small_models import TINY, tiny

from bench.engines import spills
from nacrith.models.exact import modelfile

TEXT = b"All happy families are alike; each unhappy family is unhappy in its own way."


def test_rows_of_bytes_have_none_and_others_some(tmp_path):
    small = tmp_path / "bytes.nacm"
    limits = dict.fromkeys(tiny().config.act_limits, 127)
    modelfile.write(small, replace(tiny().config, act_limits=limits), dict(tiny().tensors), {})
    assert spills.shares(small, TEXT) == ["0.0% 0.0%"] * 5
    found = [[float(share.rstrip("%")) for share in cell.split()] for cell in spills.shares(TINY, TEXT)]
    assert all(0 < numbers <= quads <= 4 * numbers for numbers, quads in found)


def test_a_line_for_each_model_and_file(tmp_path, monkeypatch, capsys):
    (tmp_path / "a.txt").write_bytes(TEXT)
    monkeypatch.setattr(sys, "argv", ["spills", str(TINY), "--data", str(tmp_path), "--files", "a.txt"])
    spills.main()
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert len(lines) == 3
    assert "a.txt" in lines[2]
