"""The page for people at the metrics port: what runs, how fast, how well; HTML and SVG, no script.

It needs neither the network nor a Prometheus: `history` keeps the last minutes of the counters.
"""
