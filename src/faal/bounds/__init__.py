"""Readers of untrusted files, with bounds on memory and time; no code in the files is run."""
