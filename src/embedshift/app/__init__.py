"""A local page for one image of the user and the images of a study. Only `page` imports Gradio."""
