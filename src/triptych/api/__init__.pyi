"""The names of `triptych.api` and their modules, each listed once; `lazy_loader` reads this file."""

from .calibrating import (
    Calibrated as Calibrated,
)
from .calibrating import (
    calibrate as calibrate,
)
from .comparing import compare as compare
from .evaluation import (
    EvaluationData as EvaluationData,
)
from .evaluation import (
    evaluate as evaluate,
)
from .evaluation import (
    read_for_evaluation as read_for_evaluation,
)
from .evaluation import (
    recorded_data as recorded_data,
)
from .evaluation import (
    write_report as write_report,
)
from .explaining import (
    explain as explain,
)
from .explaining import (
    explain_all as explain_all,
)
from .explaining import (
    explain_image as explain_image,
)
from .exporting import (
    export as export,
)
from .exporting import (
    export_store as export_store,
)
from .memories import (
    BuiltIndex as BuiltIndex,
)
from .memories import (
    ImageSize as ImageSize,
)
from .memories import (
    Memory as Memory,
)
from .memories import (
    Skipped as Skipped,
)
from .memories import (
    add_to_memory as add_to_memory,
)
from .memories import (
    build_memory as build_memory,
)
from .memories import (
    calibrate_memory as calibrate_memory,
)
from .memories import (
    change_memory as change_memory,
)
from .memories import (
    index_memory as index_memory,
)
from .memories import (
    open_memory as open_memory,
)
from .memories import (
    read_cues as read_cues,
)
from .memories import (
    read_pattern_file as read_pattern_file,
)
from .memories import (
    remove_from_memory as remove_from_memory,
)
from .memories import (
    tune_memory as tune_memory,
)
from .memory_queries import (
    MemoryAnswers as MemoryAnswers,
)
from .memory_queries import (
    memory_info as memory_info,
)
from .memory_queries import (
    nearest_patterns as nearest_patterns,
)
from .memory_queries import (
    query_memory as query_memory,
)
from .models import (
    Chosen as Chosen,
)
from .models import (
    choose as choose,
)
from .models import (
    load as load,
)
from .models import (
    make_ensemble as make_ensemble,
)
from .models import (
    predict as predict,
)
from .searching import (
    Tuned as Tuned,
)
from .searching import (
    tune as tune,
)
from .testing import (
    Tested as Tested,
)
from .testing import (
    run_test as run_test,
)
from .training import (
    NAME_FOR_HELPERS as NAME_FOR_HELPERS,
)
from .training import (
    LearningRates as LearningRates,
)
from .training import (
    Trained as Trained,
)
from .training import (
    find_learning_rate as find_learning_rate,
)
from .training import (
    start_run as start_run,
)
from .training import (
    train as train,
)
