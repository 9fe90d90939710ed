"""Data: text, vocabularies, token streams, batches, and sequences made by a rule.

Import from the file that defines a thing (``from unrolled.data.stream import TokenStream``); only
``unrolled.data.batch`` needs torch at import.
"""
