"""Texts for the tests of prompt compression: of many scripts, code and JSON, whole and at random."""

from __future__ import annotations

from hypothesis import strategies as st

ENGLISH = """\
The Normans were the people who in the 10th and 11th centuries gave their name to Normandy, a region in
France. They were descended from Norse raiders; however, under Rollo they did not leave again.

Dr. Smith wrote "the best book" about it (see https://example.org/a/b?c=1, or mail j.doe@example.org).
- run `make test` with --fast
- never call get_user_name() twice
"""
CHINESE = "北京是中华人民共和国的首都。上海不是首都!它有2400万人口,比北京多。长江在上海入海,港口很大。"
JAPANESE = "東京タワーは東京にあるテレビ塔です。エッフェル塔には似ていません。高さは333メートルで、赤い。"
ARABIC = "القاهرة عاصمة مصر وأكبر مدنها. ليست الإسكندرية هي العاصمة؟ يعيش فيها 10 ملايين نسمة، وهي قديمة."
EMOJI = "Family 👨‍👩‍👧‍👦 flew 🇩🇪→🇫🇷 with 👍🏽 and ❤️‍🔥, 1️⃣ then 🏴󠁧󠁢󠁳󠁣󠁴󠁿 home 🎉🎉 again, é è ñ."
CODE = """\
Use this function, which is old:

```python
def f(x):
    if not x:
        return [0]
    return {"a": x}
```

It was written in a hurry by someone who has long since left the company for another one.
"""
JSON = """{"id": 7, "ok": null, "notes": ["short one", "This is a much longer note, which says \\"hello\\" \
to all of the people in the room\\nand to \\u00e9\\ud83d\\ude00 nobody else at all."], "x": {"y": -1.5e3}}"""
SAMPLES = {
    "english": ENGLISH,
    "chinese": CHINESE,
    "japanese": JAPANESE,
    "arabic": ARABIC,
    "emoji": EMOJI,
    "code": CODE,
    "json": JSON,
}

_pieces = st.one_of(
    st.sampled_from([w for t in SAMPLES.values() for w in t.split(" ")]),
    st.sampled_from(
        ["\n", "\n\n", "  ", "\t", ". ", "! ", ", ", "(", ")", '"', "'", "—", " - ", "```", "{", "}"]
    ),
    st.sampled_from(["not ", "3.5%", "$FOO", "<b>", "{name}", "中", "文", "カタ", "🎉", "\u0301", "\u200d"]),
    st.text(max_size=6),
)
texts = st.lists(_pieces, max_size=60).map("".join).filter(lambda t: t.isascii() or _encodable(t))
"""Texts that no rule of ours has seen."""


def _encodable(text: str) -> bool:
    return not any("\ud800" <= c <= "\udfff" for c in text)
