"""HuBERT, up to one layer: checkpoint -> weights -> a forward pass over packed utterances.

- checkpoint: a Hugging Face folder -> float32 tensors of the layers used, and their digest
- architecture: what config.json says, checked
- spans: where long audio is cut
- waveform: normalisation
- extractor: waveform -> one row every 20 ms (seven convolutions)
- transformer: rows -> features (positional convolution, blocks)
- ops: the heavy operations, in plain PyTorch and in oneDNN for a CPU
- packing, packed, packer, kernels_*: the same pass on a GPU, over packs of constant size
- arithmetic: no gradients, no TF32
"""
