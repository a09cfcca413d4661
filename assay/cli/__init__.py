"""The command line: ``assay new | validate | schema | run | show | path | sql | locks | gc``."""
