"""Training of the small models that come with the package. Nothing of the rest imports this but the command."""
