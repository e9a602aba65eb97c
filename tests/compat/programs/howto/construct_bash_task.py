import covalent as ct


task = ct.Lepton(
    language="bash",
    command="version=`echo {TOOL} 11.2.1 | awk '{{print $2}}'` && IFS=. read major minor patch <<< $version",
    argtypes=[
        (str, ct.Lepton.INPUT_OUTPUT),
        (int, ct.Lepton.OUTPUT),
        (int, ct.Lepton.OUTPUT),
        (int, ct.Lepton.OUTPUT),
    ],
    named_outputs=["TOOL", "major", "minor", "patch"],
)


@ct.lattice
def workflow(**kwargs):
    return task(**kwargs)


result = ct.dispatch_sync(workflow)(TOOL="gcc")
print(result.status, result.result)
