"""Training on Parquet that is larger than memory: read by row groups, again in every epoch.

`files` knows the row groups and `reading` their cells. `scan` measures the columns in one pass,
`survey` sums and samples the rows in a second one. `shuffle` puts them into another order every
epoch, `training` learns from them, `fit` compares what was learned, `command` publishes it.
"""
