"""What the miniature found: the paper's findings, each held or not held, with its numbers."""
