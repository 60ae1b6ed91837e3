"""The process that owns libvirt (`server`) and the client through which everyone else reaches it (`client`).

`client` and `wire` import neither libvirt nor any screen; only the process itself does.
"""
