"""The command `isotherm bench`: load from several processes, latencies that leave nothing out."""
