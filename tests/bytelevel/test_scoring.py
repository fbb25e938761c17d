"""`nacrith score` and `nacrith complete`, and the page of scores in a real browser."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from clirunner import nacrith
from paths import TINY

from nacrith.bytelevel import ByteModel
from nacrith.bytelevel.page import page, visible
from nacrith.bytelevel.scoring import score
from nacrith.models.exact.model import ExactModel

TEXT = "The <b>word</b> & the caf\u00e9\u2019s\n\n\tend. ".encode() + b"\xff\x00"


@pytest.fixture(scope="module")
def model() -> ByteModel:
    return ByteModel(ExactModel(TINY))


def test_bits_of_tokens_and_of_bytes_sum_to_the_cost_of_the_text(model: ByteModel) -> None:
    result = score(model, TEXT, by_byte=True, others=3)
    assert result.bits == pytest.approx(model.score(TEXT), abs=1e-6)
    assert 0 <= sum(t.bits for t in result.tokens) - result.bits + 1e-9 < 1
    assert result.byte_bits is not None
    assert result.byte_bits.sum() == pytest.approx(result.bits, abs=1e-6)
    assert b"".join(TEXT[t.start : t.end] for t in result.tokens) == TEXT
    encoded = model.model.tokenizer.encode(TEXT)
    assert len(result.tokens) <= len(encoded)  # a byte that is spelt by an escape is one here
    for token in result.tokens:
        bits = [b for _, b in token.others]
        assert bits == sorted(bits)
        assert len(bits) == 3
        assert token.bits >= bits[0] - 1e-9
    assert score(model, b"").bits_per_byte == 0


def test_blocks_begin_anew(model: ByteModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nacrith.bytelevel.scoring.BLOCK", 20)
    result = score(model, TEXT)
    parts = [model.score(TEXT[i : i + 20]) for i in range(0, len(TEXT), 20)]
    assert result.bits == pytest.approx(sum(parts), abs=1e-6)
    assert b"".join(TEXT[t.start : t.end] for t in result.tokens) == TEXT


def test_tokens_are_told_on_one_line() -> None:
    assert visible(b" a\n\t\xff\\") == "\u00b7a\\n\\t\\xff\\"


def test_the_page_shows_what_is_no_text(model: ByteModel) -> None:
    """A browser takes a carriage return for one more line, and shows nothing of a NUL."""
    found = page([("file", [score(model, b"a\r\nb\t\x00\xf0\x9f")])])
    [column] = re.findall(r"<pre>(.*?)</pre>", found, re.S)
    assert re.sub(r"<.*?>", "", column) == "a\\r\nb\t\\x00\\xf0\\x9f"


def test_the_page_has_the_text_and_what_was_likelier(model: ByteModel) -> None:
    lane = score(model, TEXT, others=4)
    found = page([("a & b", [lane, lane])])
    assert "a &amp; b" in found
    assert "http" not in found.partition("<body>")[0]
    columns = re.findall(r"<pre>(.*?)</pre>", found, re.S)
    assert len(columns) == 2
    spans = re.findall(r'<span class="b\d" data-t="([^"]*)">(.*?)</span>', columns[0], re.S)
    text = "".join(html.unescape(t) for _, t in spans)
    assert text.startswith("The <b>word</b> & the caf\u00e9")
    assert all(re.match(r"\d+\.\d\d bits&#10;", tip) for tip, _ in spans)


_BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.skipif(_BROWSER is None, reason="no Chromium on this machine")
def test_a_browser_shows_two_lanes_side_by_side(model: ByteModel, tmp_path: Path) -> None:
    assert _BROWSER
    lane = score(model, TEXT, others=4)
    measure = """<script>
        const lanes = [...document.querySelectorAll(".lane")].map(e => e.getBoundingClientRect());
        const hot = getComputedStyle(document.querySelector("pre .b9, pre .b8, pre .b7, pre .b6"));
        document.body.innerHTML = JSON.stringify({
            left: lanes.map(r => r.left), width: lanes.map(r => r.width), top: lanes.map(r => r.top),
            colour: hot.backgroundColor, text: document.body.innerText,
        });
    </script>"""
    file = tmp_path / "bits.html"
    file.write_text(page([("file", [lane, lane])]).replace("</body>", f"{measure}</body>"), encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    done = subprocess.run(
        [_BROWSER, *options, "--window-size=1200,900", "--dump-dom", file.as_uri()],
        capture_output=True,
        timeout=120,
        check=True,
    )
    dom = done.stdout.decode()
    seen = json.loads(html.unescape(dom[dom.index("{", dom.index("<body>")) : dom.rindex("}") + 1]))
    assert len(seen["left"]) == 2
    assert seen["left"][1] >= seen["left"][0] + seen["width"][0]
    assert seen["top"][0] == seen["top"][1]
    assert "rgba(214, 84, 20" in seen["colour"]
    assert "Where the bits go" in seen["text"]
    assert "caf\u00e9" in seen["text"]


def test_score_on_the_command_line(tmp_path: Path) -> None:
    file = tmp_path / "text"
    file.write_bytes(TEXT)
    plain = nacrith("score", "-m", str(TINY), str(file))
    assert re.search(rb"text: \d+\.\d{4} bits per byte, .* per token \(\d+ bytes, \d+ tokens, ", plain.out)
    by_byte = json.loads(nacrith("score", "-m", str(TINY), "--json", "--by", "byte", str(file)).out)
    assert len(by_byte["byte_bits"]) == by_byte["bytes"] == len(TEXT)
    assert sum(by_byte["byte_bits"]) == pytest.approx(by_byte["bits"], abs=0.01)
    target = tmp_path / "bits.html"
    both = nacrith(
        "score", "-m", str(TINY), "-m", str(TINY), "--json", "--html", str(target), "-", stdin=TEXT
    )
    first, second = map(json.loads, both.out.splitlines())
    assert first == second
    assert sum(size for size, _ in first["token_bits"]) == len(TEXT)
    assert target.read_text().count('class="lane"') == 2
    again = nacrith("score", "-m", str(TINY), "--html", str(target), str(file))
    assert again.code == 1
    assert again.said("bits.html", "exists")
    missing = nacrith("score", "-m", str(TINY), str(tmp_path / "no"), str(file))
    assert missing.code == 1
    assert b"bits per byte" in missing.out
    assert missing.said("no")


def test_complete_on_the_command_line() -> None:
    once = nacrith("complete", "-m", str(TINY), "--bytes", "9", "the wor").out
    assert 0 < len(once) <= 9
    assert nacrith("complete", "-m", str(TINY), "--bytes", "9", stdin=b"the wor").out == once
    sampled = [
        nacrith("complete", "-m", str(TINY), "--bytes", "20", "--temperature", "1", "--seed", s, "the").out
        for s in "112"
    ]
    assert sampled[0] == sampled[1] != sampled[2]
    both = nacrith("complete", "-m", str(TINY), "-m", str(TINY), "--bytes", "4", "the wor").out
    assert both == once[:4]
    assert len(nacrith("complete", "-m", str(TINY), "--bytes", "6", "--suffix", " end", "the ").out) <= 6
    refused = nacrith("complete", "-m", "no-such-model", "x")
    assert refused.code == 3
    assert refused.said("no-such-model")
