"""The command line ``assay``; ``assay --help`` lists the commands."""
