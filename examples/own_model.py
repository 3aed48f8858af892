"""A module of one's own, from a table to a version that serves: python examples/own_model.py."""

import pyarrow.csv
from torch import nn

from isotherm.trainer import fit

table = pyarrow.csv.read_csv("examples/diabetes.csv")
*features, target = table.column_names
model = nn.Sequential(nn.Linear(10, 16), nn.LayerNorm(16), nn.SiLU(), nn.Linear(16, 1))

trained = fit(model, table, features=features, targets=[target], epochs=100, weight_decay=(3.0,))
for candidate in trained.leaderboard.candidates:
    print(f"{candidate.name:8} {candidate.cross_validation_error:.1f}")
print("published", trained.publish("models", "own"))
