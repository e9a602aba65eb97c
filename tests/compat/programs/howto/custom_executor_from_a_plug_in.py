import covalent as ct


@ct.electron(executor="noisy")
def named(x):
    return x + 1


@ct.electron(executor=ct.executor.NoisyExecutor("loud"))
def made(x):
    return x * 2


@ct.lattice
def workflow(x):
    return made(named(x))


result = ct.get_result(ct.dispatch(workflow)(1), wait=True)
print(result.status, result.result)
print(ct.get_config("executors.noisy")["word"], ct.executor.NoisyExecutor("loud").to_dict()["attributes"]["word"])
