"""`python -m subsong`: the command line where the console script is not on PATH."""

from subsong.cli import main

if __name__ == "__main__":
    main()
