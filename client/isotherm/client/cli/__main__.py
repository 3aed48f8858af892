"""`python -m isotherm.client.cli` is the `isotherm` command."""

from isotherm.client.cli import main

if __name__ == "__main__":
    main()
