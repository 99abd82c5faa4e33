"""A stand-in workspace and a stand-in Cellcast on loopback: the demo shows the bot in them, the tests hold it to them.

The bot itself knows nothing of this package; it is reached over HTTP or a socket, by settings alone.
"""
