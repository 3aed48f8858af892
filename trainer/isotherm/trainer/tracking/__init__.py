"""Tracking: what a training did, told to TensorBoard and MLflow."""
