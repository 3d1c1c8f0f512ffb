"""The command line: parse, call, print. It has no logic."""
