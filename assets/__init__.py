"""The software-defined assets: one thin file per stage."""
