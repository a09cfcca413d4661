"""The experiment's spec: one file per section, plus defaults, validation and loading."""
