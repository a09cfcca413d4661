"""Pixels: decoding, resizing, encoding, boxes and masks."""
