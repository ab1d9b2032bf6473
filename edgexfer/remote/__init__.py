"""Running edgexfer's verbs on a device over OpenSSH.

`Device` (device.py) is this side: it starts `ssh`, sends edgexfer itself, bundles and images, and runs verbs there.
`agent/` and `wire.py` are the other side: sent as source through the connection, standard library alone.
"""
