"""A page on this machine, for one image of your own and the images of a study. Only `page` imports Gradio."""
