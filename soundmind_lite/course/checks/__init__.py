"""The checks of the exercises, a module for each notebook.

`check_04_1` gets the learner's solution of exercise 04.1, and raises `Wrong` with a diagnosis or
returns a remark. Above it stand wrong answers that it refuses, with words of their diagnosis.
"""
