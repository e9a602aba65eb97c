"""Executor plug-in in a folder of the user's, as Covalent's how-to "Create a custom executor" writes one."""

from covalent.executor import BaseExecutor

EXECUTOR_PLUGIN_NAME = "NoisyExecutor"
_EXECUTOR_PLUGIN_DEFAULTS = {"word": "hello"}


class NoisyExecutor(BaseExecutor):
    def __init__(self, word="", **kwargs):
        super().__init__(**kwargs)
        self.word = word

    def run(self, function, args, kwargs, task_metadata):
        print(self.word)
        return function(*args, **kwargs)
