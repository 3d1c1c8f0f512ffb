"""Files that may come from anybody, read within bounds on memory and time; no code in them is run."""
