"""What the notebooks import: the first cell, exercises and their checks, figures, widgets, diagnosis."""
