"""Prompts of our own writing for `bench.decoding.speed`: six kinds of tasks, and an agent's loop of edits.

The models that run on a processor are base models, so that prompts are texts to be continued, as few-shot
prompts are.
"""

from __future__ import annotations

_STORY = (
    "The harbour master had kept the tide tables for thirty years. Every evening he walked to the end of the"
    " pier, read the gauge, and wrote the figure into a book with a green cover. When the new gauge came,"
    " which"
    " wrote its figures down without him, he went on walking to the end of the pier. He said that"
    " somebody had"
    " to see whether the sea agreed with it. In the winter of the great storm the new gauge stopped at a"
    " quarter past nine, and the green book had the only figures of that night."
)
_CODE = '''def read_table(path):
    """Read a table of names and numbers, one pair a line."""
    table = {}
    with open(path) as file:
        for number, line in enumerate(file, 1):
            name, _, value = line.partition("=")
            if not name.strip():
                raise ValueError(f"line {number}: the name is missing")
            table[name.strip()] = float(value)
    return table


def write_table(path, table):
    """Write a table of names and numbers, one pair a line."""
    with open(path, "w") as file:
        for name, value in sorted(table.items()):
            file.write(f"{name} = {value}\\n")
'''

KINDS: dict[str, list[str]] = {
    "conversation": [
        "User: What should I see in Lisbon in two days?\nAssistant: On the first day, walk through Alfama and"
        " take the tram up the hill. On the second, visit Belém.\nUser: And what should I eat"
        " there?\nAssistant:",
        "User: My bread never rises. What am I doing wrong?\nAssistant:",
    ],
    "translation": [
        "English: The house is red.\nFrench: La maison est rouge.\nEnglish: The dog sleeps in the garden.\n"
        "French: Le chien dort dans le jardin.\nEnglish: My sister reads a book.\nFrench:",
        "German: Das Wetter ist heute schön.\nEnglish: The weather is nice today.\nGerman: Wir gehen"
        " morgen in"
        " die Stadt.\nEnglish: We are going to town tomorrow.\nGerman: Der Zug kommt um acht Uhr"
        " an.\nEnglish:",
    ],
    "summary": [
        f"Article: {_STORY}\n\nSummary of the article in three sentences:",
        f"{_STORY}\n\nThe main points of the text above are:\n1.",
    ],
    "questions": [
        "Question: What is the capital of France?\nAnswer: The capital of France is Paris.\nQuestion: Why is"
        " the sky blue?\nAnswer:",
        "Question: Who wrote the play Hamlet?\nAnswer: Hamlet was written by William"
        " Shakespeare.\nQuestion: How"
        " do plants make their food?\nAnswer:",
    ],
    "mathematics": [
        "Problem: Tom has 3 boxes with 4 apples each. He eats 2 apples. How many are left?\nSolution: Tom"
        " has 3"
        " * 4 = 12 apples. He eats 2, so 12 - 2 = 10 are left. The answer is 10.\nProblem: Ann buys 5"
        " pens at 3"
        " dollars each and pays with 20 dollars. How much does she get back?\nSolution:",
        "1 + 2 = 3\n2 + 3 = 5\n3 + 4 = 7\n4 + 5 = 9\n5 + 6 = 11\n",
    ],
    "retrieval": [
        f"Document 1: {_STORY}\n\nDocument 2: A tide gauge measures the height of the sea at a place, hour by"
        " hour.\n\nQuestion: What did the harbour master do every evening?\nAnswer: According to the first"
        " document,",
        f"Context: {_STORY}\nQuestion: When did the new gauge stop?\nAnswer:",
    ],
    "copying": [
        f"Text:\n{_STORY}\n\nThe same text, copied word by word:\nThe harbour master had kept",
        f"# The module\n\n{_CODE}\n\n# The module again, unchanged\n\ndef read_table(path):\n",
    ],
    "edit loop": [
        f"Before:\n{_CODE}\nAfter renaming `table` to `values`:\n"
        + _CODE.split("\n\n\n")[0].replace("table", "values")
        + "\n\n\nBefore:\n"
        + _CODE
        + '\nAfter renaming `number` to `count`:\ndef read_table(path):\n    """Read a table',
        f"$ cat table.py\n{_CODE}\n$ sed -i 's/float(value)/int(value)/' table.py\n$ cat table.py\ndef read",
    ],
}
