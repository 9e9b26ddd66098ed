"""Continued pre-training of a Llama on megatron-core (paper, section 3.2)."""

import warnings

# megatron-core says at every import what it lacks; where it matters, `attention = "te"` is refused.
for said in ("(Transformer Engine and )?Apex (is|are) not installed", "full scope is deprecated"):
    warnings.filterwarnings("ignore", message=said, category=UserWarning)
