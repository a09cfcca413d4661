"""The result store: every stage's result is a folder named by its fingerprint, built once, complete or absent."""
