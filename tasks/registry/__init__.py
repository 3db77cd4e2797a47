"""Registration of the winner: its bundle and its version in the MLflow registry."""
