"""The data set: its annotation formats, where its files come from, rows that cannot be used, and the audit."""
