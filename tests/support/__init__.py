"""What several test modules share: models, and real servers to talk to."""
