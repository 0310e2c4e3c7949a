"""Users and permissions: people, passwords, second factors, tokens, and the audit trail of changes to them.

Every other package checks permissions here; this one depends on none of them.
"""
