"""nacrith as a codec of other packages. Each module imports its package, and nothing else imports it."""
