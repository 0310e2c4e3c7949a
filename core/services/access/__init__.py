"""Who is there and what they may: people, passwords, second factors, tokens, and the trail of changes to them.

Every other room asks here whether whoever acts may do so; this one asks nobody.
"""
