"""Why a photograph cannot be opened: the reasons that are counted, and the error of one."""

from enum import Enum

from ldm.mistake import MistakeError


class Reason(Enum):
    """What is wrong with a photograph (`annotator.acceptance.Flaw`: with what it fell into)."""

    MISSING = "missing"
    NOT_A_PICTURE = "not_a_picture"
    DAMAGED = "damaged"
    UNSUPPORTED = "unsupported"
    ANIMATED = "animated"
    TINY = "tiny"
    HUGE = "huge"
    TRANSPARENT = "transparent"
    BAD_ANNOTATION = "bad_annotation"


class PhotographError(MistakeError):
    """A photograph that is refused; the text is one line that names it and says why."""

    def __init__(self, reason: Reason, text: str) -> None:
        # Both are arguments of the exception, so that it survives the way between processes.
        super().__init__(reason, text)
        self.reason = reason

    def __str__(self) -> str:
        return self.args[1]
