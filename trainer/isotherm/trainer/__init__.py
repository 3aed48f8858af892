"""The trainer: a table in, a published model version out."""
