"""Names of lower layers that callers need: recipes, options, limits, files and errors. Quick to import."""

from triptych.config import (
    Combination as Combination,
    Recipe as Recipe,
    TrainingTable as TrainingTable,
    describe_shipped as describe_shipped,
    differences as differences,
    dump_recipe as dump_recipe,
    load_any_recipe as load_any_recipe,
    load_experiment as load_experiment,
    load_recipe as load_recipe,
    names_recipe as names_recipe,
    shipped_recipes as shipped_recipes,
    tiny as tiny,
)
from triptych.config.options import RunOption as RunOption, run_options as run_options
from triptych.config.serve import describe_limits as describe_limits, load_limits as load_limits
from triptych.data.locations import (
    Location as Location,
    check_locations as check_locations,
    describe_location as describe_location,
    location_arguments as location_arguments,
    parse_location as parse_location,
)
from triptych.errors import (
    DataError as DataError,
    RecipeError as RecipeError,
    RunError as RunError,
    TriptychError as TriptychError,
    did_you_mean as did_you_mean,
)
from triptych.files import atomic_write as atomic_write, tsv_row as tsv_row
