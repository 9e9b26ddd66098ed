"""The CTC baseline (appendix B): HuBERT, three hidden layers and a projection to characters.

settings  what a run is
corpus    manifests -> texts, characters, batches of waveforms or features
model     encoder and head; greedy decoding
frozen    features of an encoder that is not trained, computed once
run       the command
transcribe a trained model -> hypotheses
"""
