"""Networks of public code: which form a file of weights is of, and RobustBench's."""
