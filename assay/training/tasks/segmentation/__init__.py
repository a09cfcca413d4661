"""Segmentation: datasets of windows with masks, loss, decoding and running metric."""
