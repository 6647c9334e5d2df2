"""What the notebooks import: the first cell, exercises and checks, figures, widgets, diagnosis."""
