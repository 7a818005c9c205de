"""The trainer's devices and compilations are those of these tests too."""

from ..trainer.conftest import compile_once as compile_once
