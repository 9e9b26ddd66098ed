"""Pseudo-labelled speech translation: transcripts, translated by a language model and filtered.

settings     what a run is
transcripts  which transcripts are translated
scorers      how good a translation is, without a reference
labels       answers -> kept pairs -> samples, each with its count
run          the command
"""
