import covalent as ct
import covalent.executor.base
import covalent.leptons
import covalent.triggers.dir_trigger
from covalent.executor.executor_plugins.dask import DaskExecutor
from covalent.executor.executor_plugins.local import LocalExecutor
from covalent.executor.executor_plugins.remote_executor import RemoteExecutor
from covalent.executor.utils import get_context
from covalent.executor.utils.context import get_context as the_same
from covalent.executor.utils.enums import Signals
from covalent.leptons import bash
from covalent.triggers.base import BaseTrigger
from covalent.triggers.database_trigger import DatabaseTrigger
from covalent.triggers.dir_trigger import DirTrigger
from covalent.triggers.sqlite_trigger import SQLiteTrigger
from covalent.triggers.time_trigger import TimeTrigger
from covalent.triggers.trigger_loader import TriggerLoader, available_triggers

print(DaskExecutor.__name__, LocalExecutor.__name__, RemoteExecutor.__name__)
print(get_context is the_same, get_context is ct.get_context, [signal.name for signal in Signals])
print(bash is ct.leptons.bash)
for cls in (BaseTrigger, DatabaseTrigger, DirTrigger, SQLiteTrigger, TimeTrigger):
    print(cls is getattr(ct.triggers, cls.__name__), TriggerLoader()[cls.__name__] is cls)
print(available_triggers["DirTrigger"] is DirTrigger)
print(callable(ct.executor.get_config), ct.executor.get_config is ct.get_config)
