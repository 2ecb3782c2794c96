"""What a cluster says of itself, and the site file that follows from it."""
