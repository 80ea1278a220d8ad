"""`python -m spicestat` is the command line."""

from spicestat.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    main()
