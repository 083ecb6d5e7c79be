"""Everything that can go wrong with a model, each with the next step in its message.

ModelError
├── UnknownModel      no model of this name
├── ModelMissing      known, but not on this machine
├── NothingFits       no model of the catalogue fits this machine
├── NotAGguf          the file is no GGUF, or only half of one
├── SourceFailed      one source cannot give the file; another may
├── WrongContent      what arrived is not what was asked for
├── DiskFull
├── PullRunning       another pull of the same file is at work
└── PullInterrupted   Ctrl-C; what has arrived is kept
"""


class ModelError(Exception):
    """A model cannot be had or used; the message says what to do."""


class UnknownModel(ModelError):
    """Neither the catalogue nor the models folder knows the name."""


class ModelMissing(ModelError):
    """The model is known, but its file is not on this machine."""


class NothingFits(ModelError):
    """This machine has too little memory for every model of the catalogue."""


class NotAGguf(ModelError):
    """The file is not a GGUF that llama.cpp can read, or it is cut off."""


class SourceFailed(ModelError):
    """One source cannot be reached or refuses to give the file."""


class WrongContent(ModelError):
    """The bytes that arrived are not the model: wrong size or wrong checksum."""


class DiskFull(ModelError):
    """The disk has no room for the model."""


class PullRunning(ModelError):
    """Another process is downloading the same file."""


class PullInterrupted(ModelError):
    """The user stopped the download; the next pull goes on from there."""
