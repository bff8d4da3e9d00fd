"""Convolution as a matrix, counts in closed form, plain attention on images."""
