"""txid-sync beside PGSync and a poller of timestamps, on the same servers with the same rows."""
