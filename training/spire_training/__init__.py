"""From speech to checkpoints: the miniature encoder, and the language models over units."""
