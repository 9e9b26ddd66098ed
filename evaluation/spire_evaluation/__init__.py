"""From a checkpoint to numbers: tasks, generation, metrics, report."""
