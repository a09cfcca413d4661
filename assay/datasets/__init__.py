"""Data sets: the user's own images and tables, generated images, and the index of items that both become."""
