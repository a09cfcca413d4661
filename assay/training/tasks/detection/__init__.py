"""Detection: datasets of windows with boxes, box coding, loss and running metric."""
