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
from .evaluation import (
    EvaluationData as EvaluationData,
    evaluate as evaluate,
    read_for_evaluation as read_for_evaluation,
    recorded_data as recorded_data,
    write_report as write_report,
)
from .experiments import (
    NOISE as NOISE,
    SUCCESS as SUCCESS,
    FinishedExperiment as FinishedExperiment,
    RecallDemo as RecallDemo,
    load_experiment as load_experiment,
    run_experiment as run_experiment,
    run_recall_demo as run_recall_demo,
    write_experiment_report as write_experiment_report,
)
from .explaining import (
    explain as explain,
    explain_all as explain_all,
    explain_image as explain_image,
)
from .exporting import (
    export as export,
    export_store as export_store,
)
from .memories import (
    BuiltIndex as BuiltIndex,
    ImageSize as ImageSize,
    Memory as Memory,
    Skipped as Skipped,
    add_to_memory as add_to_memory,
    build_memory as build_memory,
    calibrate_memory as calibrate_memory,
    change_memory as change_memory,
    index_memory as index_memory,
    open_memory as open_memory,
    read_cues as read_cues,
    read_pattern_file as read_pattern_file,
    remove_from_memory as remove_from_memory,
    tune_memory as tune_memory,
)
from .memory_queries import (
    MemoryAnswers as MemoryAnswers,
    memory_info as memory_info,
    nearest_patterns as nearest_patterns,
    query_memory as query_memory,
)
from .models import (
    Chosen as Chosen,
    choose as choose,
    load as load,
    make_ensemble as make_ensemble,
    predict as predict,
)
from .searching import (
    Tuned as Tuned,
    tune as tune,
)
from .testing import (
    Tested as Tested,
    run_test as run_test,
)
from .training import (
    NAME_FOR_HELPERS as NAME_FOR_HELPERS,
    LearningRates as LearningRates,
    Trained as Trained,
    find_learning_rate as find_learning_rate,
    start_run as start_run,
    train as train,
)
