"""`MistakeError`: what a person got wrong, whatever it was; doors say it and nothing more."""


class MistakeError(ValueError):
    """Something given that cannot be used; the text is one line that names it, what was found and
    what is expected."""
