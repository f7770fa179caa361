"""The drill: regions whose processes it kills and starts again, writers, and the ledger of what clients were told.

Deliberately knows nothing of how regions replicate; only the ledger knows what may be missing afterwards.
"""
