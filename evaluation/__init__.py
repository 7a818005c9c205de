"""Uses of a trained model: evaluation, tasks, generation, export. See docs/training.md."""
