"""The command `faal`, and `python -m faal`, for `torchrun --nproc-per-node N -m faal ...`."""

import sys


def main() -> None:
    """Run the command line; never returns. Ctrl-C within the imports of its own modules ends it in a sentence too."""
    try:
        from faal.cli.app import main as run
    except KeyboardInterrupt:
        print("faal: stopped", file=sys.stderr)
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
