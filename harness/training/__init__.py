"""The one offline loop, the on-policy parts, and the ledger."""
