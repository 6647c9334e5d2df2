"""The data set: its formats, where its files come from, rows that can't be used, and the audit."""
