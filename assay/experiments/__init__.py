"""The experiment store: spec files, frozen specs of runs, and each experiment's self-contained folder."""
