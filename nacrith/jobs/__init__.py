"""Many files over many workers: planning, scheduling, devices, outcomes.

This package knows nothing of archives or models. Its workers call a function that it is given
(`pool.Start`), so that it can be tested without either. It imports the standard library only, and Ray if
asked to.
"""
