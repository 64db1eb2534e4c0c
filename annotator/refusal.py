"""Why a photograph is refused: the reasons that are counted, and the error that carries one."""

from enum import Enum


class Reason(Enum):
    """What is wrong with a photograph that is refused, before it is taken apart or after."""

    MISSING = "missing"
    NOT_A_PICTURE = "not_a_picture"
    DAMAGED = "damaged"
    UNSUPPORTED = "unsupported"
    ANIMATED = "animated"
    TINY = "tiny"
    HUGE = "huge"
    TRANSPARENT = "transparent"
    BAD_ANNOTATION = "bad_annotation"
    BLURRED = "blurred"
    FEW_REGIONS = "few_regions"
    SMALL_REGIONS = "small_regions"
    HARD_EDGES = "hard_edges"
    POOR_RECOMPOSITION = "poor_recomposition"


class PhotographError(ValueError):
    """A photograph that is refused; the text is one line that names it and says why."""

    def __init__(self, reason: Reason, text: str) -> None:
        # Both are arguments of the exception, so that it survives the way between processes.
        super().__init__(reason, text)
        self.reason = reason

    def __str__(self) -> str:
        return self.args[1]
