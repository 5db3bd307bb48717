"""A page on the local machine: one image of your own, and the images of a study as points.

`image_tab`, `study_tab` and `page` alone import Gradio.
"""
