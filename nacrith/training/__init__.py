"""Training of the small models that the package ships. Only the commands import it."""
