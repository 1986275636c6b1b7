"""Run a `BatchCommand`: select rows, process them batch by batch, save each, resume, hold and stop.

`run.loop` is the loop. `state` is what the database keeps of a batch, `rows` what a batch consists
of, and `operator_control` what other terminals can ask of it.
"""
