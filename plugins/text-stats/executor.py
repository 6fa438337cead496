"""Statistics of a text. A pure function: the same text gives the same numbers."""

import re
from collections import Counter

# Letters and digits of any script; an apostrophe or a hyphen inside a word belongs to it.
WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
SENTENCE = re.compile(r"[^.!?…。！？]*[^\W_][^.!?…。！？]*")


def invoke(input_data, ctx):
    text = input_data["text"]
    words = WORD.findall(text.casefold())
    sentences = SENTENCE.findall(text)
    counts = Counter(words)

    # Most frequent first; equal counts by the alphabet, so that the order never depends on the text's.
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    top = [{"word": word, "count": count} for word, count in ranked[: ctx.config["top"]]]

    return {
        "characters": len(text),
        "words": len(words),
        "unique_words": len(counts),
        "lines": len(text.splitlines()),
        "sentences": len(sentences),
        "mean_word_length": ratio(sum(map(len, words)), len(words)),
        "mean_sentence_words": ratio(len(words), len(sentences)),
        "reading_seconds": ratio(len(words) * 60, ctx.config["words_per_minute"]),
        "top_words": top,
    }


def ratio(part, whole):
    return round(part / whole, 2) if whole else 0.0
