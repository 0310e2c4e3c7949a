"""What is drawn on the pages: a package for each page, a module for each of its parts.

A page says in which order they are read and drawn. They are made of what `core.ui` offers, as the pages are.
"""
