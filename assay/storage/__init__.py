"""Files, results, tables, locks and locations: everything that is written to a disk or an object store."""
