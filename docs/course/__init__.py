"""The course: eight lessons from a sequence to a promoted champion, each a Python file that runs.

A lesson is a text notebook (`# %%` cells, the percent format of jupytext), which Jupyter and editors open.
`python -m docs.course FOLDER` executes all lessons and writes each as Markdown with its tables and pictures,
next to an index, for the site.
"""
