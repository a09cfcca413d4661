"""One module per stage of the pipeline: each reads the result folders of earlier stages and fills one of its own."""
