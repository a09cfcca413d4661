"""Typed sections of an experiment's spec, one file each."""
