"""Official data sets: their sources, the download, and the folders in which they are searched for."""
