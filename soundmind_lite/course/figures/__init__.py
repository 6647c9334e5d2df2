"""The figures that the notebooks show, a module for each notebook, like their checks.

A function computes nothing that a lesson teaches; it draws what it is given and returns a
`show.Picture` with its words.
"""
