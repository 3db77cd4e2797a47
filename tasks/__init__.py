"""What each step of the pipeline does: pure functions on top of each file, a thin task at its bottom; never their order."""
