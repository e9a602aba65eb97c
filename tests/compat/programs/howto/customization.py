import covalent as ct


print(ct.get_config("sdk.no_cluster"), ct.get_config(["dispatcher.address"]))
ct.set_config("sdk.mine", "one")
ct.set_config({"sdk.mine": "two", "sdk.more": "three"})
print(ct.get_config("sdk.mine"), ct.get_config(["sdk.mine", "sdk.more"]))
ct.reload_config()
print(ct.get_config("sdk.mine"))
try:
    ct.get_config("sdk.nothing_of_this_name")
except KeyError:
    print("KeyError")
