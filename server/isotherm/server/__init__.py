"""The inference server: a model repository in, Open Inference Protocol answers out."""
