"""Official data sets: where they come from, how they are downloaded, and the folders in which they are found."""
