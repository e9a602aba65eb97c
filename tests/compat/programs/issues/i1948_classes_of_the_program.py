import covalent as ct
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple


class Kind(Enum):
    A = 1
    B = 2


@dataclass
class Job:
    kind: Kind
    tags: list = field(default_factory=list)


class Pair(NamedTuple):
    left: int
    right: int


@ct.electron
def make(kind):
    return Job(kind, ["x"]), Pair(1, 2)


@ct.electron
def look(job, pair):
    return job.kind is Kind.B, job.tags, pair.left + pair.right, type(pair).__name__


@ct.lattice
def workflow():
    job, pair = make(Kind.B)
    return look(job, pair)


result = ct.get_result(ct.dispatch(workflow)(), wait=True)
print(result.status, result.result)
