"""`python -m nacrith`: the command line."""

from nacrith.cli import main

if __name__ == "__main__":
    main()
