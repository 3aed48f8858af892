"""The search: `isotherm tune` tries settings of a network on the same folds, and keeps the best."""
