"""Scorers: the controls, LexRank, the language model against plain definitions, the token classifier."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prompt_texts import SAMPLES, texts
from small_checkpoint import write_checkpoint
from small_models import TINY

from nacrith.errors import ModelError, PromptError
from nacrith.models import load_model
from nacrith.models.protocol import LOGIT_BITS, LanguageModel
from nacrith.prompt import PromptCompressor
from nacrith.prompt.scorers import NAMES, make
from nacrith.prompt.scorers.attribution import AttributionScorer
from nacrith.prompt.scorers.auto import is_english
from nacrith.prompt.scorers.cues import cues
from nacrith.prompt.scorers.language_model import QuestionScorer, SelfInformationScorer
from nacrith.prompt.scorers.lexrank import LexRankScorer
from nacrith.prompt.scorers.likeness import built_in
from nacrith.prompt.scorers.terms import stem
from nacrith.prompt.segment import WORD, passage

FACTS = """\
The harbour was built of granite in the last century. Ships from many countries call there every week.
The mayor of the town is Anna Berg, who won the vote in spring. The weather is mild and wet all year.
Ships bring coffee and timber to the harbour, and the harbour is the heart of the town.
"""


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return load_model(str(TINY), threads=1)


@pytest.mark.parametrize("name", NAMES)
def test_every_scorer_fits_the_seam(name: str) -> None:
    """Finite scores of the right shape, for passages without units too."""
    scorer = make(name, model=None if name == "classifier" else str(TINY), threads=1)
    passages = [passage(t) for t in (FACTS, SAMPLES["emoji"], "", SAMPLES["chinese"][:20])]
    found = scorer.score(passages, "Who is the mayor?")
    for p, score in zip(passages, found, strict=True):
        assert score.shape == (len(p.sentences) if scorer.by_sentence else len(p),)
        assert np.isfinite(score).all()
    if scorer.causal:
        alone = scorer.score(passages[:2], "Who is the mayor?")
        for a, b in zip(alone, found, strict=False):
            assert np.array_equal(a, b)
    assert scorer.name == name
    PromptCompressor(scorer, len).compress(FACTS, query="Who is the mayor?", rate=0.4)


def test_unknown_scorer() -> None:
    with pytest.raises(PromptError, match="there are lexrank"):
        make("lexranc")
    with pytest.raises(PromptError, match="path"):
        make("classifier", model=load_model(str(TINY), threads=1))


def test_lexrank_finds_the_centre_and_the_answer() -> None:
    def best(query: str) -> str:
        result = PromptCompressor("lexrank", protect="none").compress(FACTS, rate=0.25, query=query)
        return result.text

    assert best("Who is the mayor of the town?").startswith("The mayor")
    assert best("Which weather do they have?").startswith("The weather")
    assert "Ships bring" in best("")  # a clause of it: the whole sentence is longer than the budget
    assert (
        PromptCompressor("lexrank")
        .compress(SAMPLES["chinese"], query="港口", rate=0.4)
        .text.endswith("港口很大。")
    )


PAGES = """\
Norvik Harbour
Norvik Harbour was designed by Anna Lindqvist. It took thirteen years to build. Coffee came in there.

Oslo Fjord
The fjord is long and deep. Many boats cross it in summer. Fish is sold at the quay.

Anna Lindqvist
Anna Lindqvist was an engineer. She was born in Uppsala. Her brothers were farmers.

Designs of harbours
Harbours are designed by engineers. A good design takes the tides into account. Storms are rare.
"""


def kept_of(text: str, query: str, rate: float) -> str:
    return PromptCompressor("lexrank", protect="none").compress(text, rate=rate, query=query).text


def test_a_paragraph_that_the_answer_to_half_of_the_question_names() -> None:
    """The sentence about the birth has no word of the question but "born", as has the one that misleads;
    only the title of its paragraph, which another sentence names, tells them apart."""
    misled = PAGES.replace("Fish is sold", "Bjorn Dahl was born in Bergen")
    kept = kept_of(misled, "Where was the person born who designed Norvik Harbour?", 0.45)
    assert "Norvik Harbour was designed by Anna Lindqvist" in kept
    assert "born in Uppsala" in kept
    assert "Bergen" not in kept


def test_words_that_mean_alike() -> None:
    """Neither sentence has a word of the question; one says who wrote it."""
    text = "Red Dawn was printed in Rome. Its paper is thick and grey. Its author is a farmer."
    name, paper, author = LexRankScorer().score([passage(text)], "Who wrote Red Dawn?")[0]
    assert name > author > paper


@pytest.mark.parametrize("query", ["", "Why did the invoice test fail?"])
def test_a_sentence_that_is_said_again_comes_last(query: str) -> None:
    said = "The test of the invoice total failed because of the rounding."
    text = f"{said} {said.upper()} The order of discount and tax was wrong. {said} Ana mended the rounding."
    kept = kept_of(text, query, 0.6)
    assert kept.casefold().count(said.casefold()) == 1
    assert "Ana mended" in kept


def test_likeness_of_words() -> None:
    likeness = built_in()
    words = [stem(w) for w in ("wrote", "author", "granite", "Zwieback", "日本")]
    places = likeness.places(words)
    vectors = likeness.vectors(places)
    found = likeness.alike(vectors, vectors)
    assert found[0, 1] > 0.5 > found[0, 2]
    assert (places[3:] == likeness.size).all()
    assert not found[3:].any()  # not even to each other
    rarity = likeness.rarity(likeness.places(["the", "right", "warn", "Zwieback"]))
    assert rarity[0] == 0 < rarity[1] < rarity[2] < rarity[3] == 1


def test_a_common_word_that_is_rare_in_the_text_decides_nothing() -> None:
    text = (
        "The lyrics ask what went right now and then. The choir sang for an hour.\n\n"
        "Donald Trump is the president of the country. He has been in office since January.\n\n"
        "The president of the club is Bob. The president of the guild is Tim."
    )
    assert "Donald Trump" in kept_of(text, "Who is the president of the country right now?", 0.35)


@pytest.mark.parametrize(
    ("question", "answer", "other"),
    [
        ("When was the mill closed?", "It was closed in 1944.", "It was closed by the owner."),
        ("Wann schloss die Mühle?", "Sie schloss im Mai.", "Sie schloss mit Verlust."),
        ("Combien de moulins ?", "Il y en a 12.", "Il y en a beaucoup."),
        ("Who closed the mill?", "It was closed by Anna Berg.", "It was closed by the owner."),
        ("Where is the mill?", "It is near the town of Metz.", "It is near the river."),
    ],
)
def test_cues_of_a_question(question: str, answer: str, other: str) -> None:
    found = cues(question, [answer, other])
    assert found[0] > 0 == found[1]
    assert not cues("Why is the mill closed?", [answer, other]).any()


def test_a_query_as_long_as_a_text() -> None:
    """Its terms are compared with those of the text only up to a number."""
    query = " ".join(f"word{k}" for k in range(3000))
    assert LexRankScorer().score([passage(FACTS + query)], query)[0].max() == 1


def test_a_sentence_counts_for_more_in_a_paragraph_that_fits() -> None:
    arles = "The bridge of Arles is old. It was closed in 1921."
    text = f"{arles}\n\nThe mill of Metz is old. It was closed in 1944."
    assert "1921" in kept_of(text, "When was the bridge of Arles closed?", 0.6)
    assert "1944" in kept_of(text, "When was the mill of Metz closed?", 0.6)


def test_words_that_begin_alike_and_parts_of_compounds_match() -> None:
    text = "Wool was traded early. Iranian statues show sheep. The best-selling coat was red. It rained."
    assert "Iranian" in kept_of(text, "sheep in Iran", 0.4)
    assert "best-selling" in kept_of(text, "Which coat was selling?", 0.4)


def test_the_surroundings_count_in_a_long_paragraph() -> None:
    """In a transcript, turns near those that fit are more relevant than like ones far away."""
    idle = "A: We had no other points. "
    text = idle * 20 + "B: The budget of the tower. A: It is short. C: The tower costs more. " + idle * 20
    assert "It is short." in kept_of(text, "What about the budget of the tower?", 0.12)


def test_a_query_without_a_known_word_ranks_by_centrality() -> None:
    assert kept_of(FACTS, "xylophone", 0.25) == kept_of(FACTS, "", 0.25)


def test_lexrank_is_the_walk_that_it_says() -> None:
    """Against the dense matrix of cosines."""
    from nacrith.prompt.scorers.terms import terms as terms_of

    p = passage(FACTS)
    terms = terms_of(p)
    names = sorted({t for _, t in terms})
    tf = np.zeros((len(p.sentences), len(names)))
    for row, term in terms:
        tf[row, names.index(term)] += 1
    x = tf * np.log((len(tf) + 1) / ((tf > 0).sum(0) + 0.5))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    cosines = x @ x.T
    walk = 0.85 * cosines / cosines.sum(0) + 0.15 / len(tf)
    rank = np.full(len(tf), 1 / len(tf))
    for _ in range(200):
        rank = walk @ rank
    (found,) = LexRankScorer().score([p], "")
    np.testing.assert_allclose(found, rank / rank.max(), rtol=1e-3)


def slow_bits(model: LanguageModel, ids: list[int]) -> list[float]:
    """Bits of each token, one at a time, by the definition of the weights."""
    session = model.session()
    row = session.extend([[model.bos_id]])[0][0]
    out = []
    for token in ids:
        weights = np.exp2(row.astype(np.float64) / (1 << LOGIT_BITS))
        out.append(-math.log2(weights[token] / weights.sum()))
        row = session.extend([[token]])[0][0]
    return out


def test_self_information_by_definition(model: LanguageModel) -> None:
    text = "Anna went to the sea. éa 🎉!"
    ids = list(model.tokenizer.encode(text.encode()))
    bits = slow_bits(model, ids)
    # Of each byte its token's bits, shared among the bytes that are no space.
    per_byte: list[tuple[float, float]] = []
    data = b""
    for token, cost in zip(ids, bits, strict=True):
        piece = model.tokenizer.decode([token])
        data += piece
        solid = sum(not chr(b).isspace() for b in piece) or 1
        per_byte += [(cost / solid, 1 / solid)] * len(piece)
    assert data == text.encode()
    p = passage(text)
    expected = []
    for a, b in zip(p.starts, p.ends, strict=True):
        first, last = len(text[:a].encode()), len(text[:b].encode())
        total = np.array(per_byte[first:last]).sum(0)
        expected.append(total[0] / total[1])
    (found,) = SelfInformationScorer(model).score([p], "")
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_self_information_past_the_end_of_a_lane(model: LanguageModel) -> None:
    """Where a lane is full, a new one goes on: every token has a score."""

    class Short:
        def __getattr__(self, name: str) -> object:
            return 256 if name == "max_length" else getattr(model, name)

    p = passage(FACTS * 4)
    scorer = SelfInformationScorer(Short(), window=64)  # type: ignore[arg-type]
    (short,) = scorer.score([p], "")
    (whole,) = SelfInformationScorer(model, window=64).score([p], "")
    assert short.shape == whole.shape
    assert np.array_equal(short[:60], whole[:60])
    assert abs(short.mean() - whole.mean()) < 0.5
    assert (short > 0).all()


def slow_loss(model: LanguageModel, before: list[int], left_out: list[int], after: list[int]) -> float:
    """Of what follows tokens that are left out, by the definition of the scorer."""

    def log2(ids: list[int]) -> np.ndarray:
        x = model.session().extend([[model.bos_id, *ids]])[0][-len(after) :].astype(np.float64)
        x /= 1 << LOGIT_BITS
        return x - np.logaddexp2.reduce(x, axis=1)[:, None]

    given, without = log2([*before, *left_out, *after]), log2([*before, *after])
    bits = (np.exp2(given) * (given - without)).sum(axis=1)
    return float(bits[2:].sum() if len(bits) > 2 else bits[-1])


def test_attribution_by_definition(model: LanguageModel) -> None:
    """Branches of a tree give what whole sequences give; without a query, and with one."""
    text = "Anna Berg went to the sea. It was -- as ever -- cold."
    query = "Where did she go?"
    ids = list(model.tokenizer.encode(text.encode()))
    ends = np.cumsum([len(model.tokenizer.decode([i])) for i in ids]).tolist()

    def loss(start: int, end: int, asked: str) -> float:
        first = sum(e <= start for e in ends)
        last = sum(e < end for e in ends) + 1
        rest = [*ids[last:], *model.tokenizer.encode(f"\n\nQuestion: {asked}\nAnswer:".encode())]
        return slow_loss(model, ids[:first], ids[first:last], rest[:8])

    p = passage(text)
    assert [w for w, kind in zip(p.words, p.kinds, strict=True) if kind != WORD] == [".", "."]
    expected = [
        loss(a, b, "What does the text say?") if kind == WORD else 0.0
        for a, b, kind in zip(p.starts, p.ends, p.kinds, strict=True)
    ]
    (found,) = AttributionScorer(model).score([p], "")
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    assert found.max() > 2 * np.median(found)

    spans = [(int(p.starts[a]), int(p.ends[b - 1])) for a, b in p.sentences]
    (helpful,) = QuestionScorer(model).score([p], query)
    helpful = helpful * len(model.tokenizer.encode(f" {query}".encode()))
    (found,) = AttributionScorer(model, by_sentence=True).score([p], query)
    expected = [loss(a, b, query) + h for (a, b), h in zip(spans, helpful, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    (found,) = AttributionScorer(model).score([p], query)
    (alone,) = AttributionScorer(model).score([p], "")
    np.testing.assert_allclose(found[:3], (alone + helpful[p.sentence])[:3], rtol=1e-3, atol=1e-4)


def test_attribution_past_the_end_of_a_lane(model: LanguageModel) -> None:
    """A new lane begins half a window back; what is too long to be left out at once is cut up."""

    class Short:
        def __getattr__(self, name: str) -> object:
            return 256 if name == "max_length" else getattr(model, name)

    long = "x" * 10 + "ab" * 300
    p = passage(FACTS * 2 + long + " " + FACTS)
    scorer = AttributionScorer(Short())  # type: ignore[arg-type]
    assert scorer.window == 64
    (short,) = scorer.score([p], "")
    (whole,) = AttributionScorer(model, window=64).score([p], "")
    assert np.array_equal(short[:60], whole[:60])
    assert (short[p.kinds == WORD] > 0).all()
    assert np.corrcoef(short, whole)[0, 1] > 0.9
    (sentences,) = AttributionScorer(Short(), by_sentence=True).score([p], "Who?")  # type: ignore[arg-type]
    assert sentences.shape == (len(p.sentences),)


def test_question_likelihood_by_definition(model: LanguageModel) -> None:
    """Branches behind a shared prefix give what whole sequences give."""
    sentences = ["A cat sat.", "The mayor is Anna."]
    (found,) = QuestionScorer(model).score([passage(" ".join(sentences))], "Who is the mayor?")

    def cost(before: str) -> float:
        ids = [t for part in before.split("|") for t in model.tokenizer.encode(part.encode())]
        asked = list(model.tokenizer.encode(b" Who is the mayor?"))
        return float(np.mean(slow_bits(model, ids + asked)[len(ids) :]))

    plain = cost("Passage:|\nQuestion:")
    expected = [plain - cost(f"Passage:| {s}|\nQuestion:") for s in sentences]
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_yes_no_is_a_probability(model: LanguageModel) -> None:
    (found,) = QuestionScorer(model, "yes_no").score([passage(FACTS * 3)], "Who?")
    assert ((found > 0) & (found < 1)).all()
    assert len(set(found.tolist())) >= len(found) // 2


def test_questions_need_a_query(model: LanguageModel) -> None:
    with pytest.raises(PromptError, match="needs a query"):
        QuestionScorer(model).score([passage(FACTS)], " ")


needs_transformers = pytest.mark.skipif(
    importlib.util.find_spec("transformers") is None or importlib.util.find_spec("torch") is None,
    reason="token classifiers need torch and transformers: pip install '.[prompt]'",
)


@pytest.mark.skipif(
    importlib.util.find_spec("transformers") is not None,
    reason="transformers is installed: nothing to report",
)
def test_classifier_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"pip install 'nacrith\[prompt\]'"):
        make("classifier", model=str(tmp_path))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@needs_transformers
@pytest.mark.filterwarnings("ignore")
def test_classifier_joins_pieces_by_offsets(checkpoint: Path) -> None:
    scorer = make("classifier", model=str(checkpoint))
    text = "banana, bit (cat)  aa\n\n中国 xyz a 🎉b " + "dog cat " * 60
    p = passage(text)
    (found,) = scorer.score([p], "")
    score = dict(zip(p.words, found.tolist(), strict=True))
    assert score["aa"] == score["a"] > score["banana"] > score["cat"] > score["bit"]
    low, high = score["bit"], score["a"]
    assert score["xyz"] == score["中"] == pytest.approx(low)
    assert score["banana"] == pytest.approx((low + high) / 2)
    assert score["cat"] == pytest.approx((2 * low + high) / 3)
    # Chunks end between words: each "cat" has its whole score, and all of them the same.
    assert np.ptp([s for w, s in zip(p.words, found, strict=True) if w == "cat"]) < 1e-6
    result = PromptCompressor(scorer, protect="none").compress(text, threshold=(low + score["cat"]) / 2)
    assert "bit" not in result.text
    assert "dog" not in result.text
    assert result.text.count("cat") == 61


@needs_transformers
@pytest.mark.filterwarnings("ignore")
@settings(max_examples=15, deadline=None)
@given(text=texts)
def test_classifier_takes_any_text(checkpoint: Path, text: str) -> None:
    scorer = make("classifier", model=str(checkpoint))
    (found,) = scorer.score([passage(text)], "")
    assert found.shape == (len(passage(text)),)
    assert np.isfinite(found).all()


@needs_transformers
@pytest.mark.filterwarnings("ignore")
def test_classifier_refuses_other_folders(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such directory"):
        make("classifier", model=str(tmp_path / "none"))
    with pytest.raises(ModelError, match="not a token-classification checkpoint"):
        make("classifier", model=str(tmp_path))
    with pytest.raises(ModelError, match="no such directory"):
        make("classifier", model="someone/model:file.gguf")


@settings(max_examples=30, deadline=None)
@given(text=texts, seed=st.integers(0, 9))
def test_random_is_repeatable(text: str, seed: int) -> None:
    (a,) = make("random", seed=seed).score([passage(text)], "")
    (b,) = make("random", seed=seed).score([passage(text)], "x")
    assert np.array_equal(a, b)


def test_auto_keeps_whole_sentences() -> None:
    """With and without a query, in any language: words are dropped only if that is asked for."""
    compressor = PromptCompressor()
    german = "Der Hafen wurde aus Granit gebaut. Jede Woche kommen Schiffe aus vielen Ländern in die Stadt."
    for text in (FACTS, german, SAMPLES["chinese"]):
        for options in ({}, {"query": "Who is the mayor?"}, {"prefix_stable": True}):
            result = compressor.compress(text, rate=0.6, **options)
            assert result.scorer == "lexrank"
            p = passage(text)
            whole = {p.sentence_text(k) for k in range(len(p.sentences))}
            q = passage(result.text)
            assert {q.sentence_text(k) for k in range(len(q.sentences))} <= whole
    assert is_english(FACTS)
    assert not is_english(german)


def test_built_in_classifier_drops_what_a_person_drops() -> None:
    text = (
        "The local council, which met on Tuesday evening in the old town hall, has approved the plan to "
        "build a new bridge, according to a statement that was issued by its spokesman late last night."
    )
    result = PromptCompressor("classifier", lambda t: len(t.split()), protect="none").compress(text, rate=0.4)
    for word in ("council", "approved", "plan", "bridge"):
        assert word in result.text
    assert "Tuesday" not in result.text
    assert "spokesman" not in result.text
