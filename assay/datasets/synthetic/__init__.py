"""Generated images of numbers on photos."""
