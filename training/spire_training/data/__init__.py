"""Shards and texts -> packed rows of tokens, as continued pre-training and instruction tuning read
them.

selection    which utterances of a corpus are taken, and in what words
sources      shards, texts and instructions -> documents
rendering    documents -> tokens and marks, in batches
mixture      how many tokens each source gives
spill        the shuffle: documents in buckets on disk
packing      documents -> rows
packed       the folder that training reads: writer, reader, marks, order
isolation    which tokens of a row see each other
prepare      all of it in order
"""
