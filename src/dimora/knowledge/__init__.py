"""What the house knows of people's documents: collections of a workspace, in one file each."""
