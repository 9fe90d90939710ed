"""Data: text, its tokens and pieces, tagged sentences, records, pairs of texts, dialogues, pronunciations,
word vectors, vocabularies, token streams, batches by length, and sequences made by a rule.

Import from the file that defines a thing (``from unrolled.data.stream import TokenStream``); only
``unrolled.data.batch`` needs torch at import.
"""
