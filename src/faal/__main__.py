"""`python -m faal`, for `torchrun --nproc-per-node N -m faal ...`."""

from faal.cli.app import main

main()
