"""Training of the small models that come with the package. Only the command imports this."""
