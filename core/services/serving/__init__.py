"""Serving: loading the champion, predictions, guards, explanations; and the prediction log."""
