import covalent as ct
import time
from pathlib import Path

from covalent.executor import BaseExecutor


class Timing(BaseExecutor):
    def __init__(self, path, **kwargs):
        self.path = str(Path(path).resolve())
        super().__init__(**kwargs)

    def run(self, function, args, kwargs, task_metadata):
        began = time.process_time()
        result = function(*args, **kwargs)
        with open(self.path, "a") as file:
            file.write(f"node {task_metadata['node_id']} took {time.process_time() - began} s\n")
        return result


timing = Timing("times.txt")
print(timing.short_name(), sorted(timing.to_dict()), timing.to_dict()["attributes"]["path"] == timing.path)
