import covalent as ct
from covalent.executor.base import BaseExecutor
from covalent.executor.base import AsyncBaseExecutor
from covalent.executor.executor_plugins.local import LocalExecutor


class Mine(BaseExecutor):
    def run(self, function, args, kwargs, task_metadata):
        return function(*args, **kwargs)


class Waiting(AsyncBaseExecutor):
    async def run(self, function, args, kwargs, task_metadata):
        return function(*args, **kwargs)


print(BaseExecutor is ct.executor.BaseExecutor)
print(issubclass(LocalExecutor, BaseExecutor), issubclass(ct.executor.DaskExecutor, AsyncBaseExecutor))
print(Mine().short_name(), isinstance(Mine(), ct.executor.BaseExecutor))
