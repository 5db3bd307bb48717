"""`python -m embedshift`: the command line of the Python that runs."""

from embedshift.cli import main

if __name__ == "__main__":
    main()
