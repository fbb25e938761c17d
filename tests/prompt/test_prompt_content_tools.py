"""Outputs of tools that are no prose: test runners, listings of files, SQL. What must survive."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from nacrith.prompt import PromptCompressor
from nacrith.prompt.content import route

PYTEST = (
    "============================= test session starts ==============================\n"
    "platform linux -- Python 3.12.1, pytest-8.0.0\nrootdir: /srv/app\ncollected 64 items\n\n"
    + "".join(f"spec/test_cart.py::test_case_{i} PASSED [{i:3}%]\n" for i in range(60))
    + "spec/test_pay.py::test_refund FAILED [100%]\n\n"
    "=================================== FAILURES ===================================\n"
    "_________________________________ test_refund __________________________________\n\n"
    "    def test_refund():\n        order = make(3)\n>       assert order.refund() == 30\n"
    "E       assert 27 == 30\nE        +  where 27 = refund()\n\nspec/test_pay.py:41: AssertionError\n"
    "=========================== short test summary info ============================\n"
    "FAILED spec/test_pay.py::test_refund - assert 27 == 30\n"
    "========================= 1 failed, 63 passed in 2.41s =========================\n"
)
GO = (
    "".join(f"=== RUN   TestPart{i}\n--- PASS: TestPart{i} (0.00s)\n" for i in range(30))
    + "=== RUN   TestTotal\n    total_test.go:17: got 4, want 5\n--- FAIL: TestTotal (0.01s)\n"
    "FAIL\nFAIL\texample.com/shop\t0.212s\n"
)
CARGO = (
    "running 40 tests\n"
    + "".join(f"test parser::case_{i} ... ok\n" for i in range(39))
    + "test parser::empty ... FAILED\n\nfailures:\n\n---- parser::empty stdout ----\n"
    "thread 'parser::empty' panicked at src/parser.rs:88:9:\nassertion failed: left == right\n\n"
    "test result: FAILED. 39 passed; 1 failed; 0 ignored\n"
)
JEST = (
    "FAIL src/cart.test.js\n"
    + "".join(f"  ✓ adds item {i} (2 ms)\n" for i in range(30))
    + "  ✕ applies the voucher (5 ms)\n\n  ● applies the voucher\n\n    Expected: 90\n    Received: 100\n\n"
    "Tests:       1 failed, 30 passed, 31 total\n"
)
LISTING = "total 812\n" + "".join(
    f"-rw-r--r-- 1 ana staff {1000 + 37 * i:6} Mar {1 + i % 28:2} 10:0{i % 10} page_{i:02}.html\n"
    for i in range(40)
).replace("page_23.html", "server.pem")
DUMP = (
    "-- Dump of shop\nSET NAMES utf8mb4;\n\nDROP TABLE IF EXISTS `orders`;\n"
    "CREATE TABLE `orders` (\n  `id` int NOT NULL,\n  `note` varchar(80) DEFAULT 'a;b',\n"
    "  PRIMARY KEY (`id`)\n);\n\n"
    "INSERT INTO `orders` VALUES\n"
    + ",\n".join(f"({i},'it''s no. {i}; (fragile)')" for i in range(60))
    + ";\nUNLOCK TABLES;\n"
)
KINDS = {"test output": (PYTEST, GO, CARGO, JEST), "listing": (LISTING,), "sql": (DUMP,)}


def cut(text: str, rate: float = 0.3, query: str = "") -> str:
    return PromptCompressor("lexrank", len).compress(text, rate=rate, query=query).text


@pytest.mark.parametrize("kind", KINDS)
def test_kinds(kind: str) -> None:
    for text in KINDS[kind]:
        content = route(text)
        assert content is not None
        assert content.kind == kind
        assert "".join(text[a:b] for a, b, _ in content.segments) == text


@pytest.mark.parametrize(
    ("text", "kept", "gone"),
    [
        (
            PYTEST,
            ["collected 64", "FAILED spec/test_pay.py::test_refund", "assert 27 == 30", "63 passed"],
            "case_31",
        ),
        (GO, ["--- FAIL: TestTotal", "got 4, want 5", "FAIL\texample.com/shop"], "PASS: TestPart17"),
        (
            CARGO,
            ["parser::empty ... FAILED", "panicked at src/parser.rs:88", "39 passed; 1 failed"],
            "case_17",
        ),
        (JEST, ["✕ applies the voucher", "Expected: 90", "Received: 100", "1 failed, 30 passed"], "item 17"),
    ],
    ids=["pytest", "go", "cargo", "jest"],
)
def test_what_failed_and_the_counts_stay(text: str, kept: list[str], gone: str) -> None:
    made = cut(text, 0.45)
    assert all(k in made for k in kept)
    assert gone not in made
    assert re.search(r"\[\d+ of \d+ lines left out\]", made)


def test_a_listing_keeps_its_total_and_what_differs() -> None:
    made = cut(LISTING)
    assert made.startswith("total 812\n")
    assert "server.pem" in made
    assert re.search(r"\[\d+ of 41 lines left out\]", made)
    assert "page_17.html" in cut(LISTING, query="How large is page_17.html?")


def test_a_listing_of_names_without_a_suffix_is_spread() -> None:
    made = cut("total 9\n" + "".join(f"drwxr-xr-x 2 a b 4096 Mar  1 10:00 day{i:02}\n" for i in range(40)))
    found = [int(d) for d in re.findall(r"day(\d\d)", made)]
    assert found[0] == 0
    assert found[-1] == 39
    assert any(10 < d < 30 for d in found)


def test_sql_keeps_what_defines_and_some_rows() -> None:
    made = cut(DUMP, 0.4)
    assert "`note` varchar(80) DEFAULT 'a;b'" in made
    assert re.search(r"/\* \[\d+ of 59 rows left out\] \*/", made)
    assert made.rstrip().endswith(";")
    plain = re.sub(r"/\*.*?\*/", "", made)
    values = plain[plain.index("VALUES") + 6 : plain.index(";\n", plain.index("VALUES"))]
    rows = re.findall(r"\(\d+,'it''s no\. \d+; \(fragile\)'\)", values)
    assert len(rows) > 3
    assert re.sub(r"\s", "", values) == re.sub(r"\s", "", ",".join(rows))


def test_sql_in_which_a_row_is_asked_for() -> None:
    assert "no. 44;" in cut(DUMP, 0.4, "What is the note of order no. 44?")


def test_context_of_a_diff_stays_only_with_its_change() -> None:
    """There was room for the line before the change, and none for the change."""
    change = "".join(f"+        self.step_{i}(everything, that, follows)\n" for i in range(8))
    text = (
        "diff --git a/a.py b/a.py\n--- a/a.py\n+++ b/a.py\n@@ -1,4 +1,11 @@\n     def run(self):\n"
        f"{change}         return True\n@@ -40,3 +47,3 @@\n     def end(self):\n"
        "-        pass\n+        self.done()\n"
    )
    content = route(text)
    assert content is not None
    assert content.kind == "diff"
    assert "".join(text[a:b] for a, b, _ in content.segments) == text
    for rate in (0.2, 0.3, 0.4, 0.5):
        made = PromptCompressor("lexrank", len).compress(text, rate=rate, on_error="pass").text
        assert ("def run" in made) <= ("step_3" in made)
        assert ("return True" in made) <= ("step_3" in made)
        assert ("def end" in made) <= ("self.done()" in made)


def halls(count: int) -> list[dict[str, Any]]:
    notes = ('Say "Ana" at nine.', "Back\\slash, tab\tand 😀.", "日本語 only.")
    return [{"id": i, "name": f"Hall {i}", "open": i != 7, "note": notes[i % 3]} for i in range(count)]


@pytest.mark.parametrize("ascii_only", [True, False])
@pytest.mark.parametrize("rate", [0.2, 0.35, 0.5])
def test_json_in_a_string_of_json(rate: float, ascii_only: bool) -> None:
    body = {"halls": halls(40), "page": 1}
    text = json.dumps({"status": 200, "body": json.dumps(body, ensure_ascii=ascii_only), "took": 3})
    made = json.loads(cut(text, rate))
    assert (made["status"], made["took"]) == (200, 3)
    inner = json.loads(made["body"])
    assert inner["page"] == 1
    found = inner["halls"]
    assert found["columns"] == ["id", "name", "open", "note"]
    every = [list(h.values()) for h in halls(40)]
    assert all(row in every for row in found["rows"])
    assert found["note"] == f"{len(found['rows'])} of 40 rows kept"
    assert json.loads(json.loads(cut(text, 0.9))["body"])["halls"] == {
        "columns": found["columns"],
        "rows": every,
    }


def test_json_in_a_string_that_the_query_asks_for() -> None:
    text = json.dumps({"content": [{"type": "text", "text": json.dumps(halls(40))}]})
    assert "Hall 23" in cut(text, 0.3, "Is Hall 23 open?")


def test_what_only_looks_like_json_in_a_string_stays() -> None:
    odd = "{not json, but long: " + "x y z " * 100 + "}"
    text = json.dumps({"odd": odd, "halls": halls(20)})
    assert json.loads(cut(text, 0.7))["odd"] == odd


@pytest.mark.parametrize(
    "text",
    [
        "Select the best offer; create a list; update me by Friday. I would like to know more. " * 3,
        "Use the door on the left.\nSet the alarm.\nWith kind regards\nAna\n" * 4,
        "I passed 3 tests. OK\nThe exam failed me in 2 ways: time and nerves.\n" * 4,
        "total 4\nThe sum was 12, and we paid it. d\n" * 6,
    ],
    ids=["sentences", "letter", "exam", "sum"],
)
def test_prose_with_the_same_words(text: str) -> None:
    assert route(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "SELECT " + "/*" * 50_000,
        "SELECT " + "$a$ " * 30_000,
        "SELECT " + "'" * 50_001 + ";",
        "INSERT INTO t VALUES " + "(" * 50_000,
        "SELECT 1;\n" * 20_000,
        "INSERT INTO t VALUES " + "(1),\n" * 20_000 + "(1);",
        "/*" + "*" * 50_000,
        "=" * 100_000 + "\n" * 8,
        ". " * 50_000 + "\n" + "x.y " * 50_000 + "\n" * 8,
        "drwxr-xr-x " + "1 " * 50_000 + "\n" * 8,
    ],
    ids=range(10),
)
def test_hostile_texts_take_linear_time(text: str) -> None:
    """These took minutes if anything were quadratic."""
    route(text)
