"""The errors a user can meet. Each message says what was expected, what came, and what to do."""


class BrittleError(Exception):
    """Bad input or usage. The command line prints it as one line and exits with code 2."""


class DataError(BrittleError):
    """A data set that is missing, broken, or outside what the library takes."""


class ModelError(BrittleError):
    """A model, recipe or weight file that cannot be used as given."""


class UsageError(BrittleError):
    """An option or argument outside its range, or options that contradict each other."""


class SoundnessError(RuntimeError):
    """A certified input was flipped by an attack: a bug in brittle, never the user's fault.

    Not a `BrittleError`: it must reach us. `report` holds what is needed to reproduce it (JSON-ready).
    """

    def __init__(self, message: str, report: dict[str, object]) -> None:
        super().__init__(message)
        self.report = report
