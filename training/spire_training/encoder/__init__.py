"""A small HuBERT from nothing: synthetic speech, masked prediction, a codebook, a judged model
folder.

The stages, in order, one module each: `corpus` (speech), `mfcc` and `targets` (what is predicted),
`pretrain` (masked prediction), `judge` (choice of the layer, phone measures), `package` (the model
folder). `__main__` is their command.
"""
