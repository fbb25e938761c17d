"""Many files over many workers: which files, in which order, on which devices, with which outcome.

This package knows nothing of archives or models. What is done with a file is a function that it is
handed and that its workers run (`pool.Start`), so that everything here is tested without either.
It imports the standard library only; Ray where it is asked for.
"""
