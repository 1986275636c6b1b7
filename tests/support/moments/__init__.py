"""Disturb runs at single messages and in their output, and judge what they report.

- `trial`: a fault, a command to disturb, and the judgement
- `launch` and `nursery`: start processes of commands quickly
- `deeds`: one command of each policy and kind of resource, in the test project
- `shipped`: every command of oneoff and of the reference project
"""
