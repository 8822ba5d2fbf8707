"""One module per claim; each prints a table and a JSON line.  See README.md."""
