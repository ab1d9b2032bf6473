"""Who made a bundle: keys, signatures, and which versions this device has accepted.

Signatures are Ed25519 (RFC 8032) by the package `cryptography`, which is imported where a key is used and nowhere else.
What is defended and what is not: docs/security.md.
"""
