"""The data card: one page on what a dataset is made of, from what its build has recorded.

`gather` collects the data without reading any text, `page` writes it as HTML, `datasheet` asks the
questions that only people can answer.
"""
