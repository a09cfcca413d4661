"""One module per stage of the chain: from the results it reads to the files of its own."""
