"""What is registered: the bundle and its place in the MLflow registry; never a training step."""
