"""`python -m bench`, the same as the console script `sweepmark`."""

from bench.cli import main

if __name__ == "__main__":
    main()
