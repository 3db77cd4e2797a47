"""Training one forecaster: its job, the loop, losses and checkpoints."""
