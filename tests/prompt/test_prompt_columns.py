"""Which columns of records stay: those that the question names, or a value of which it names."""

from __future__ import annotations

import csv
import json
import random
from io import StringIO
from typing import Any

import pytest

from nacrith.prompt import PromptCompressor
from nacrith.prompt.content.columns import asked

QUESTION = "What is the status and the price of the orders of Talo Oy?"
MISSING = "columns left out: region, note, weight_kg"


def orders() -> list[dict[str, Any]]:
    rng = random.Random(1)
    return [
        {
            "order_id": 1000 + i,
            "customer": rng.choice(["Berg AG", "Nordwind", "Ives & Co", "Talo Oy"]),
            "region": rng.choice(["North", "South", "East"]),
            "status": rng.choice(["paid", "open", "refunded"]),
            "unitPrice": round(rng.random() * 100, 2),
            "note": f"shelf {i % 7}, box {i * 3}, packed by team {i % 4} in the morning",
            "weight_kg": i % 9,
        }
        for i in range(40)
    ]


def separated(delimiter: str) -> str:
    rows = orders()
    made = StringIO()
    writer = csv.DictWriter(made, list(rows[0]), delimiter=delimiter, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return made.getvalue()


def bars() -> str:
    rows = orders()
    lines = [list(rows[0]), ["---"] * 7, *([str(v) for v in row.values()] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


FORMS = {
    "csv": separated(","),
    "tsv": separated("\t"),
    "markdown": bars(),
    "json": json.dumps({"orders": orders()}),
    "jsonl": "".join(json.dumps(row) + "\n" for row in orders()),
    "json in a string": json.dumps({"result": json.dumps(orders())}),
}


def table(form: str, text: str) -> tuple[list[str], list[list[str]], str]:
    """The header, the rows and the note of an output."""
    if form == "markdown":
        lines = [[c.strip() for c in line.split("|")[1:-1]] for line in text.splitlines()[:-1]]
        assert lines[1] == ["---"] * len(lines[0])
        return lines[0], lines[2:], text.splitlines()[-1]
    if form in ("csv", "tsv"):
        found = list(csv.reader(StringIO(text), delimiter="\t" if form == "tsv" else ","))
        assert {len(row) for row in found[:-1]} == {len(found[0])}
        return found[0], found[1:-1], text.splitlines()[-1]
    if form == "jsonl":
        first, *rows, note = [json.loads(line) for line in text.splitlines()]
        return first["columns"], rows, note["note"]
    value = json.loads(text)
    value = value["orders"] if form == "json" else json.loads(value["result"])
    return value["columns"], value["rows"], value["note"]


@pytest.mark.parametrize("form", FORMS)
def test_columns_that_are_asked_for_stay(form: str) -> None:
    """All rows of a customer fit, without what nobody asked for; and they come first."""
    result = PromptCompressor(tokenizer=len).compress(FORMS[form], rate=0.11, query=QUESTION)
    assert result.limit is not None
    assert len(result.text) <= result.limit
    header, rows, note = table(form, result.text)
    assert header == ["order_id", "customer", "status", "unitPrice"]
    mine = [str(row["order_id"]) for row in orders() if row["customer"] == "Talo Oy"]
    assert set(mine) <= {str(row[0]) for row in rows}
    assert all(len(row) == 4 for row in rows)
    assert MISSING in note


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("rate", "query"),
    [(0.6, QUESTION), (0.2, "Who packed 1013?"), (0.2, ""), (0.3, "Which are the rows of Talo Oy?")],
)
def test_columns_stay_if_rows_fit_or_none_is_named(form: str, rate: float, query: str) -> None:
    text = PromptCompressor(tokenizer=len).compress(FORMS[form], rate=rate, query=query).text
    assert "columns left out" not in text
    for name in orders()[0]:
        assert name in text


def test_all_rows_are_wanted_where_none_is_named() -> None:
    """The highest price is in any row."""
    result = PromptCompressor(tokenizer=len).compress(
        FORMS["csv"], rate=0.2, query="Which region has the highest unit price?"
    )
    header, rows, _ = table("csv", result.text)
    assert header == ["order_id", "region", "unitPrice"]
    assert len(rows) > 30


def test_results_of_tools_with_rates_of_their_own() -> None:
    chat = json.dumps([{"role": "tool", "content": FORMS["csv"]}, {"role": "user", "content": "Well?"}])
    made = PromptCompressor(tokenizer=len).compress(chat, kind="chat", rates={"tool": 0.11}, query=QUESTION)
    assert MISSING in json.loads(made.text)[0]["content"]


@pytest.mark.parametrize(
    ("query", "columns"),
    [
        ("the price in the North", [0, 1, 2]),
        ("the total of 77", None),
        ("no word of it", None),
        ("What is the name?", [0, 3]),
        ("price and name in the region South", None),
    ],
)
def test_what_is_asked_for(query: str, columns: list[int] | None) -> None:
    rows = [["a9", "North", "12", "x"], ["a8", "West", "77", "y"], ["a7", "South", "4", "z"]]
    assert asked(query, ["id", "region", "unit_price", "fullName"], rows, [10, 10, 10], 10) == columns


def test_the_record_that_is_asked_for_comes_before_its_neighbours() -> None:
    records = [{"id": i, "note": f"Message {i} says nothing new."} for i in range(15)]
    for text in (json.dumps(records), json.dumps({"body": json.dumps(records)})):
        made = PromptCompressor(tokenizer=len).compress(text, rate=0.2, query="message 7").text
        assert "Message 7 " in made
