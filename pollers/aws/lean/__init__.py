"""The lean road: the few requests that a poller makes all day, at a tenth of what the generated client costs.

Everything that decides how a request looks and where it goes is taken from the SDK's own client: it makes one request of each
kind, which is held back before it is sent and becomes the template (`template.py`). We fill in body, date and signature
(`signing.py`), carry the bytes over connections of our own (`connection.py`, `pool.py`), and judge what comes back
(`operation.py`). Where the settings ask for something that is not here, the SDK's client makes the requests.
"""
