"""Whether what a model is asked, and what it answers, still looks like what it was trained on.

Workers copy rows into rings; the supervisor folds them into counts and compares those with the
histograms of the model's contract (docs/drift.md).
"""
