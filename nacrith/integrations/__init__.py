"""Adapters that make nacrith a codec of other packages. Only these modules import those packages."""
