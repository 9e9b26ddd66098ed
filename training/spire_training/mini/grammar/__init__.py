"""A grammar that writes the same sentence in English, German and Spanish.

lexicon   the words and their forms, from `lexicon.toml`
meaning   what a sentence says, drawn at random: no words, no order
english, german, spanish   a meaning in words: agreement, case, order
"""

from spire_training.mini.grammar.english import English
from spire_training.mini.grammar.german import German
from spire_training.mini.grammar.lexicon import Lexicon, load_lexicon
from spire_training.mini.grammar.meaning import Sampler, Sentence
from spire_training.mini.grammar.spanish import Spanish

__all__ = ["English", "German", "Lexicon", "Sampler", "Sentence", "Spanish", "load_lexicon"]
