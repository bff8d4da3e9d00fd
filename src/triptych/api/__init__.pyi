"""The names of `triptych.api` and their modules, each listed once; `lazy_loader` reads this file."""

from .anatomy import (
    ConvolutionSettings as ConvolutionSettings,
    LayerWindow as LayerWindow,
    Window as Window,
    compare_with_fully_connected as compare_with_fully_connected,
    draw_convolution as draw_convolution,
    follow_windows as follow_windows,
)
from .calibrating import (
    Calibrated as Calibrated,
    calibrate as calibrate,
)
from .comparing import compare as compare
from .counting import (
    Counted as Counted,
    LayerCount as LayerCount,
    NetworkCount as NetworkCount,
    count_recipe as count_recipe,
    count_run as count_run,
)
from .evaluation import (
    Estimate as Estimate,
    EvaluationData as EvaluationData,
    Tested as Tested,
    evaluate as evaluate,
    read_for_evaluation as read_for_evaluation,
    run_test as run_test,
    write_report as write_report,
)
from .experiments import (
    NOISE as NOISE,
    SUCCESS as SUCCESS,
    FinishedExperiment as FinishedExperiment,
    RecallDemo as RecallDemo,
    run_experiment as run_experiment,
    run_recall_demo as run_recall_demo,
    write_any_report as write_any_report,
    write_experiment_report as write_experiment_report,
)
from .explaining import explain as explain
from .exporting import (
    Cost as Cost,
    export as export,
    export_store as export_store,
    is_memory as is_memory,
)
from .given import (
    align as align,
    distil as distil,
    rerank as rerank,
    score as score,
)
from .hardware import (
    PRECISIONS as PRECISIONS,
    Hardware as Hardware,
    Output as Output,
    PrintEpochs as PrintEpochs,
    check_option as check_option,
    parse_search as parse_search,
)
from .locating import placed as placed
from .memories import (
    BuiltIndex as BuiltIndex,
    ImageSize as ImageSize,
    Memory as Memory,
    MemoryAnswers as MemoryAnswers,
    PatternFile as PatternFile,
    Skipped as Skipped,
    add_to_memory as add_to_memory,
    build_memory as build_memory,
    calibrate_memory as calibrate_memory,
    change_memory as change_memory,
    index_memory as index_memory,
    memory_info as memory_info,
    open_memory as open_memory,
    query_memory as query_memory,
    read_cues as read_cues,
    read_pattern_file as read_pattern_file,
    remove_from_memory as remove_from_memory,
)
from .models import (
    Chosen as Chosen,
    choose as choose,
    load as load,
    make_ensemble as make_ensemble,
    predict as predict,
    recorded_data as recorded_data,
    search_members as search_members,
)
from .names import (
    Combination as Combination,
    DataError as DataError,
    Location as Location,
    Recipe as Recipe,
    RecipeError as RecipeError,
    RunError as RunError,
    RunOption as RunOption,
    TrainingTable as TrainingTable,
    TriptychError as TriptychError,
    atomic_write as atomic_write,
    check_locations as check_locations,
    describe_limits as describe_limits,
    describe_location as describe_location,
    describe_shipped as describe_shipped,
    did_you_mean as did_you_mean,
    differences as differences,
    dump_recipe as dump_recipe,
    load_any_recipe as load_any_recipe,
    load_experiment as load_experiment,
    load_limits as load_limits,
    load_recipe as load_recipe,
    location_arguments as location_arguments,
    names_recipe as names_recipe,
    parse_location as parse_location,
    run_options as run_options,
    shipped_recipes as shipped_recipes,
    tiny as tiny,
    tsv_row as tsv_row,
)
from .packing import (
    PackedRun as PackedRun,
    ReadyMade as ReadyMade,
    model_card as model_card,
    pack as pack,
    ready_made_models as ready_made_models,
)
from .panels import (
    panel_of as panel_of,
)
from .runs import (
    Run as Run,
    list_runs as list_runs,
    runs_folder as runs_folder,
)
from .searching import (
    Tuned as Tuned,
    tune as tune,
)
from .training import (
    NAME_FOR_HELPERS as NAME_FOR_HELPERS,
    LearningRates as LearningRates,
    Trained as Trained,
    find_learning_rate as find_learning_rate,
    recipe_from as recipe_from,
    start_run as start_run,
    train as train,
)
