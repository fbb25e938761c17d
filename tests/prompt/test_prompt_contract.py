"""The contract on meaning: restrictions with what they restrict, numbers with their units, tags, tables."""

from __future__ import annotations

import pytest

from bench.prompts import contract
from nacrith.errors import BudgetError
from nacrith.prompt import PromptCompressor
from nacrith.prompt.languages import LANGUAGES
from nacrith.prompt.meaning import RESTRICTIONS, hits, languages, scopes, tokens
from nacrith.prompt.numbers import atoms
from nacrith.prompt.protect import protected
from nacrith.prompt.segment import passage

CASES = contract.cases(contract.SENTENCES)
RATES = (0.3, 0.6)


def pieces(text: str, *rules: str) -> list[str]:
    return [text[p.start : p.end] for p in protected(text, rules)]


def test_the_set_is_wide() -> None:
    assert len(CASES) >= 300
    assert {c.language for c in CASES} == set(LANGUAGES)
    assert all(c.spans for c in CASES)


@pytest.mark.parametrize("language", LANGUAGES)
def test_nothing_of_the_set_is_cut(language: str) -> None:
    mine = [c for c in contract.cases(contract.SENTENCES, 5) if c.language == language]
    every = list(contract.compressors("random", 1))
    assert [found for c in mine for found in contract.broken(c, every, RATES)] == []


def test_the_set_can_fail() -> None:
    without = list(contract.compressors("random", 3, "none"))
    assert all(contract.broken(c, without, RATES) for c in CASES[::25])


@pytest.mark.parametrize(
    ("text", "atom"),
    [
        ("give at most 40 mg a day for now", "at most 40 mg a day"),
        ("the fee of EUR 1,250.50 is due", "EUR 1,250.50"),
        ("heat it (350 °F) well", "350 °F"),
        ("it reads 550 MB/s there", "550 MB/s"),
        ("they met on 3 March 2025 at 14:30 in Rome", "3 March 2025 at 14:30"),
        ("they met on March 3, 2025 in Rome", "March 3, 2025"),
        ("bake for 25–30 minutes more", "25–30 minutes"),
        ("it costs 1 284,50 € now", "1 284,50 €"),
        ("less than 0.5 percent of it", "less than 0.5 percent"),
        ("it is ≤ 5 kg now", "≤ 5 kg"),
        ("in about three quarters of it", "about three quarters"),
        ("for about an hour and a quarter now", "an hour and a quarter"),
        ("bis zum 20. April dort", "bis zum 20. April"),
        ("zwischen 8 und 11 Uhr dort", "zwischen 8 und 11 Uhr"),
        ("avant le 30 juin chez nous", "avant le 30 juin"),
        ("не более 2 таблеток в день тут", "не более 2 таблеток в день"),
        ("我于3月12日购买", "3月12日"),
        ("不得超过七天退换", "不得超过七天"),
        ("最大40トンまで通る", "最大40トンまで"),
        ("حتى 40 طنا هنا", "حتى 40 طنا"),
    ],
)
def test_a_number_and_what_belongs_to_it(text: str, atom: str) -> None:
    found = [text[a:b] for a, b in atoms(text, [(h.start, h.end) for h in hits(text) if h.kind == "numeral"])]
    assert any(atom in piece for piece in found), found


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("It is hardly ever done.", {"negation"}),
        ("He can't see why.", {"negation"}),
        ("He can’t see why.", {"negation"}),
        ("Only two came by.", {"limit"}),
        ("If it rains they stay.", {"condition"}),
        ("The dog sat by the door.", set()),
        ("He said a few things to a little dog.", set()),
        ("He said few things to the dog.", {"negation"}),
        ("Das ist ausschließlich für Gäste.", {"limit"}),
        ("وليس هذا البيت كبيرا", {"negation"}),
        ("这个房间非常大。", set()),
        ("これは本です。", set()),
    ],
)
def test_restrictions_are_found(text: str, kinds: set[str]) -> None:
    assert {h.kind for h in hits(text) if h.kind in RESTRICTIONS} == kinds


def test_words_count_in_their_language_only() -> None:
    """Spanish "sin" is no negation in English, nor English "no" one of the German "die"."""
    assert pieces("The sin of the man was that he had lied to them.", "negation") == []
    assert pieces("El hombre vive sin la familia de la casa.", "negation")
    assert languages(tokens("Das ist der Weg und die Stadt.")) == {"de"}
    assert "en" in languages(tokens("Qwertz asdf"))


def test_of_a_very_long_sentence_the_surroundings_stay() -> None:
    """A transcript without full stops can still be shortened."""
    text = (
        "and then they went to the town and saw the house " * 40
        + "but never opened the door "
        + "and so on " * 40
    )
    p = passage(text)
    (scope,) = {(s.start, s.end) for s in scopes(p, hits(text)) if s.kind == "negation"}
    assert "never opened the door" in text[slice(*scope)]
    assert scope[1] - scope[0] < 300
    short = PromptCompressor("random").compress(text, rate=0.3).text
    assert "never opened the door" in short


def test_a_list_stays_with_the_restriction_that_leads_it() -> None:
    text = (
        "People clean here.\n\nNever use these on the floor:\n- bleach from the shop\n- acid\n\nSo they do."
    )
    for seed in range(20):
        for rate in (0.3, 0.5, 0.7):
            short = (
                PromptCompressor("random", seed=seed, retain="with_sentence").compress(text, rate=rate).text
            )
            assert ("bleach" not in short and "acid" not in short) or "Never use these on the floor:" in short


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Bis zum 20. April bin ich da. Dann nicht.", ["Bis zum 20. April bin ich da.", "Dann nicht."]),
        ("Im 3. Stock wohnt er. Gut.", ["Im 3. Stock wohnt er.", "Gut."]),
        ("Es waren 20. Dann ging er.", ["Es waren 20.", "Dann ging er."]),
        ("Das gilt z. B. Montags. Ja.", ["Das gilt z. B. Montags.", "Ja."]),
        ("Voir Mme Lefèvre. M. Petit vient.", ["Voir Mme Lefèvre.", "M. Petit vient."]),
        ("В 2024 г. Иван уехал. Да.", ["В 2024 г. Иван уехал.", "Да."]),
    ],
)
def test_ordinals_and_abbreviations_end_no_sentence(text: str, sentences: list[str]) -> None:
    p = passage(text)
    assert [p.sentence_text(i) for i in range(len(p.sentences))] == sentences


TEMPLATE = (
    "Dear {{ customer.name }}, {% if order.total > 100 %}thank you for the large order{% endif %} of today."
    " {# a remark #} <% if x %> Hello ${user.first} and {0} there <!-- a comment --> and {{{ raw }}}."
)


def test_tags_of_templates_stay_whole() -> None:
    tags = [
        "{{ customer.name }}",
        "{% if order.total > 100 %}",
        "{% endif %}",
        "{# a remark #}",
        "<% if x %>",
    ]
    tags += ["${user.first}", "{0}", "<!-- a comment -->", "{{{ raw }}}"]
    found = pieces(TEMPLATE, "placeholder")
    assert set(tags) <= set(found)
    for scorer in ("random", "lexrank"):
        short = (
            PromptCompressor(scorer, protect="placeholder")
            .compress(TEMPLATE + " So it is." * 9, rate=0.7)
            .text
        )
        assert all(tag in short for tag in tags)


def test_braces_are_tags_in_templates_only() -> None:
    assert pieces("Dear {name}, you owe {sum}.", "placeholder") == ["{name}", "{sum}"]
    assert pieces("He said so {laugh} and went {laugh} away {cough}. " * 9, "placeholder") == []


@pytest.mark.parametrize(
    ("text", "piece"),
    [
        ('see [the page](https://a.org/b_(c) "t") now', '[the page](https://a.org/b_(c) "t")'),
        ("see ![a cat](cat.png) now", "![a cat](cat.png)"),
        ("see [this][ref] now", "[this][ref]"),
        ("text\n[ref]: https://a.org  \nmore", "[ref]: https://a.org  "),
    ],
)
def test_links_are_whole(text: str, piece: str) -> None:
    assert piece in pieces(text, "link")


def test_tables_keep_header_and_bars() -> None:
    rows = "".join(f"| city {k} | {k} people of the town |\n" for k in range(8))
    text = f"A table of cities.\n\n| name | size |\n| --- | ---: |\n{rows}\nThe end of it."
    for scorer in ("random", "lexrank"):
        for rate in (0.4, 0.6, 0.8):
            lines = PromptCompressor(scorer).compress(text, rate=rate).text.splitlines()
            table = [line for line in lines if "|" in line]
            assert table[:2] == ["| name | size |", "| --- | ---: |"]
            assert set(table) <= set(text.splitlines())


def test_a_fence_on_one_line_ends_there() -> None:
    text = "Here it is:\n```echo hello```\nand then comes prose. " + "It says very little to anybody. " * 9
    assert pieces(text, "code fence") == []
    assert pieces(text, "inline code") == ["```echo hello```"]
    assert pieces("```\na ``` b\n```\nx\n~~~\ny", "code fence") == ["```\na ``` b\n```", "~~~\ny"]
    assert len(PromptCompressor().compress(text, rate=0.4).text) <= 0.4 * len(text)


def test_falls_back_from_always_and_says_the_least_budget() -> None:
    text = (
        "There are 3 dogs here. " + "Nobody may feed 4 of the cats of the house. " * 5 + "The end has come."
    )
    compressor = PromptCompressor("random", len, retain="always")
    assert compressor.compress(text, rate=0.97).retain == "always"
    loose = compressor.compress(text, rate=0.4)
    assert loose.retain == "with_sentence"
    assert 0 < len(loose.text) <= 0.4 * len(text)
    with pytest.raises(BudgetError, match="raise the budget to 4 tokens") as caught:
        compressor.compress(text, target_tokens=3)
    assert caught.value.smallest == 4
    assert compressor.compress(text, target_tokens=4).compressed_tokens <= 4


@pytest.mark.parametrize("scorer", ["lexrank", "random", "truncate", "classifier"])
def test_the_least_budget_works(scorer: str) -> None:
    for text in (
        "Readings: 1.5, 2.5, 3.5, 4.5 volts on the bench",
        "Never go there alone.",
        "One. Two is more.",
    ):
        compressor = PromptCompressor(scorer, len)
        with pytest.raises(BudgetError) as caught:
            compressor.compress(text, target_tokens=1)
        least = caught.value.smallest
        assert least is not None
        assert 0 < len(compressor.compress(text, target_tokens=least).text.strip()) <= least


PASSAGES = [
    "The harbour of the old town was built by people who had come from the north with their boats in spring.",
    "The harbour of the old town was built by people from the north, who had come with boats and families,"
    " and the people of the town gave them land near the river.",
    "The harbour is old. It was built by people who had come from the north with boats and their families.",
    "港口是从北方坐船来的人在春天和家人一起建造的,城里的人给了河边的土地和木头。",
]


@pytest.mark.parametrize("text", PASSAGES)
def test_a_short_passage_is_no_worse_than_its_beginning(text: str) -> None:
    """A scorer of sentences with none to choose spends the budget on clauses, or on the first words."""
    for rate in (0.3, 0.5, 0.7, 0.9):
        short = PromptCompressor("lexrank").compress(text, rate=rate).text
        cut = PromptCompressor("truncate").compress(text, rate=rate).text
        assert len(short) >= 0.6 * len(cut), (rate, short, cut)


def test_of_a_sentence_that_does_not_fit_clauses_are_kept() -> None:
    text = (
        "The boats came from the north, people of the town gave them land, and the mill was sold in spring."
    )
    assert PromptCompressor("lexrank").compress(text, rate=0.4).text == "The boats came from the north."
