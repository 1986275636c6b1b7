"""The engine behind `BatchCommand`: what is selected, done, saved, resumed, held and stopped.

`runner` is the loop; the other modules are one concern of it each.
"""
