"""How the model and its data do: windows, drift, scores with and without labels, when labels arrive, and reports of it."""
