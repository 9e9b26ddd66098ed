"""Continued pre-training of a Llama on megatron-core (paper, section 3.2)."""
