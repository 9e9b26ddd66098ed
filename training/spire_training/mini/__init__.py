"""The whole paper in miniature: a world of its own, small enough for two cores."""
