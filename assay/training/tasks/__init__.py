"""What differs between the kinds of learning: items, loss, metric and predictions of each."""
