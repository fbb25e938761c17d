"""Adapters: nacrith as a codec of other packages, and its drafters in other runtimes. Only these modules
import those packages."""
