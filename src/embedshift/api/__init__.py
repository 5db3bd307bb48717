"""The Python interface: the functions of `import embedshift` that take images, vectors and encoders."""
