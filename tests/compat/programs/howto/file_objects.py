import covalent as ct


for address in ("/a/b.txt", "file:///a/b.txt", "s3://bucket/key/file", "https://host/path", "/folder/"):
    file = ct.fs.File(address)
    print(file.filepath, file.scheme, file.is_remote, file.is_dir, file.uri)
print(ct.fs.Folder("/a/b").is_dir, ct.fs.File("/a", is_remote=True).is_remote, ct.fs.Order.AFTER == "after")
transfer = ct.fs.TransferToRemote("https://host/x")
print(transfer.order == ct.fs.Order.AFTER, transfer.to_file.is_remote, transfer.from_file.is_temp_file)
