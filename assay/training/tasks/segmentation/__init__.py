"""Learning the class of every pixel: training windows with their masks, regions, loss, decoding, meter."""
