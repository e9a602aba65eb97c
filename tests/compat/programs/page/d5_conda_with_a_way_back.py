import covalent as ct

ex = ct.executor.LocalExecutor(conda_env="missing", current_env_on_conda_fail=True)


@ct.electron(executor=ex)
def one(x):
    return x + 1


@ct.electron(executor=ct.executor.DaskExecutor(conda_env="missing", current_env_on_conda_fail=True))
def two(x):
    return x + 2


@ct.lattice
def workflow(x):
    return one(x), two(x)


result = ct.get_result(ct.dispatch(workflow)(1), wait=True)
print(result.status, result.result)
