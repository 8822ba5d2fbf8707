"""`python -m txid_sync`."""

from __future__ import annotations

from txid_sync.cli import main

if __name__ == "__main__":
    main()
