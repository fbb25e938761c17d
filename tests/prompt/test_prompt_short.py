"""Short inputs: never only a note, never the debris of a sentence, else the smallest budget that works."""

from __future__ import annotations

import ast
import json
import re

import pytest

from nacrith.errors import BudgetError
from nacrith.prompt import PromptCompressor
from nacrith.prompt.content import route

CODE = """\
def merge(a, b):
    out = []
    for x in a:
        if x in b and x not in out:
            out.append(x)
        else:
            continue
    return out

class Box:
    def size(self):
        return self.w * self.h  # area
"""
DIFF = """\
diff --git a/app/cache.py b/app/cache.py
index 83db48f..bf2a9c1 100644
--- a/app/cache.py
+++ b/app/cache.py
@@ -12,9 +12,12 @@ class Cache:
     def get(self, key):
-        if key in self.data:
-            return self.data[key]
-        return None
+        entry = self.data.get(key)
+        if entry is None:
+            return None
+        value, expires = entry
+        if expires and expires < time.time():
+            del self.data[key]
+            return None
+        return value
@@ -40,3 +43,6 @@ class Cache:
     def clear(self):
         self.data.clear()
+
+    def __len__(self):
+        return len(self.data)
"""
YAML = """\
kind: Deployment
metadata:
  name: billing
  labels:
    app: billing
spec:
  replicas: 3
  strategy:
    type: RollingUpdate
    maxUnavailable: 0
"""
LOG = "".join(f"2026-03-02 08:00:{i:02},002 INFO [w1] beat ok\n" for i in range(6))
REQUEST = "Fix the bug in this function, please, it does not work as it should:\n\n"
CASES = {"code": CODE, "diff": DIFF, "yaml": YAML, "log": LOG, "code beside prose": REQUEST + CODE}
NOTE = re.compile(r"(?m)^\s*(?:\.\.\.  )?(?:# |// )?\[\d+ of \d+ lines left out.*\]\n?")


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("rate", [0.8, 0.5, 0.33, 0.2, 0.05])
def test_a_short_input_is_never_only_a_note(name: str, rate: float) -> None:
    """If it cannot be so short, the budget of the error works."""
    compressor = PromptCompressor(tokenizer=len)
    try:
        text = compressor.compress(CASES[name], rate=rate).text
    except BudgetError as error:
        text = compressor.compress(CASES[name], target_tokens=error.smallest).text
    left = NOTE.sub("", text).replace(REQUEST.strip(), "").strip()
    assert left
    if name == "diff":
        assert re.search(r"(?m)^[-+] {4}", left)
    if name.startswith("code"):
        assert re.search(r"(?m)^(?:def|class) ", left)
        ast.parse(text.replace(REQUEST, ""))


def test_a_result_of_a_tool_is_never_only_a_note() -> None:
    """There the limit rises."""
    chat = json.dumps([{"role": "tool", "content": CODE}, {"role": "user", "content": "Well?"}])
    for rate in (0.2, 0.05):
        made = PromptCompressor(tokenizer=len).compress(chat, kind="chat", rates={"tool": rate})
        assert re.search(r"(?m)^(?:def|class) ", json.loads(made.text)[0]["content"])


def test_changed_lines_come_from_the_beginning_of_their_run() -> None:
    """A run of changes has no gap; a header of a hunk without changes comes after changes."""
    content = route(DIFF)
    assert content is not None
    for rate in (0.4, 0.5, 0.6, 0.7, 0.8, 0.9):
        text = PromptCompressor(tokenizer=len).compress(DIFF, rate=rate).text
        run = [line for line in DIFF.splitlines()[6:14] if line in text.splitlines()]
        assert run == DIFF.splitlines()[6 : 6 + len(run)]
        assert run or "+    def __len__(self):" in text


@pytest.mark.parametrize(
    "text",
    [
        "The disk holds 2 TB of data and reads 550 MB/s on a good day, with the cache enabled.",
        "The oven is heated to 180 °C, and the bread is baked for 25 minutes on the lower shelf.",
        "La machine pèse 12 kg à vide, et elle consomme 300 W pendant la nuit quand il fait froid.",
        "Once cooled it is hardly ever necessary to refrigerate the loaf, which stays fresh in a bag.",
    ],
)
@pytest.mark.parametrize("scorer", ["auto", "lexrank"])
def test_a_sentence_is_cut_after_what_is_kept_with_it(text: str, scorer: str) -> None:
    """What is left of "2 TB and reads 550 MB/s" is not "2 TB 550 MB/s": only the end may go."""
    other = "The weather was fine on all of those days, and people went to the beach in the evening. "
    for source in (text, other + text, text + " " + other):
        for hundredths in range(10, 100, 3):
            try:
                made = PromptCompressor(scorer, len).compress(source, rate=hundredths / 100).text
            except BudgetError:
                continue
            for sentence in re.findall(r"[^.]+\.", made):
                assert sentence.strip(" .,") in source, made
