"""Run a `BatchCommand`: select rows, process and save them in batches, resume, throttle and stop.

`run.loop` has the loop. `state` stores batches in the database, `rows` selects their rows, and
`operator_control` handles requests from other terminals.
"""
