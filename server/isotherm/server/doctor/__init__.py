"""`isotherm doctor`: what models can run on here, and what mends the rest."""
