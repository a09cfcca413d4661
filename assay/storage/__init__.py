"""Files, results, tables, locks and locations: everything that is written to disk or to an object store."""
