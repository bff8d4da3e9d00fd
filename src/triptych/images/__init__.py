"""Reading image files, folders and arrays, and predictions about images. Nothing here imports PyTorch."""
