"""The errors that calls raise; see `triptych.errors`."""

from triptych.errors import DataError, RecipeError, RunError, TriptychError, did_you_mean

__all__ = ["DataError", "RecipeError", "RunError", "TriptychError", "did_you_mean"]
