"""Predicted boxes and masks in the formats of other tools."""
