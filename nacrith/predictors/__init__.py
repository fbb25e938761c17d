"""Online predictors: they learn from a document while it is coded.

An `Ensemble` mixes the predictors of one block with the model's distribution. Everything here obeys
nacrith.arith, since the results decide coded bits. `registry` has the sets that an archive can name, and
makes their ensembles. This module imports nothing, so that `info` can read the table of sets without numpy.
"""
