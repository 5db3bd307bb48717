"""A page on the local machine: one image of your own, and the images of a study as points.

`measured` and `points` are pure; `page` alone imports Gradio.
"""
