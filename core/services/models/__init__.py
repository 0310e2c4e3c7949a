"""What a person does with versions of a model, where they come from, and which of their files stay. The race is the loop's."""
