"""A server of the Model Context Protocol in front of another one, which shortens what its tools return.

`messages` decides what becomes of each message, `originals` keeps what was shortened, `relay` runs the other
server. It works on lines of JSON-RPC and needs no library, so it serves every version of the protocol.

https://modelcontextprotocol.io/specification
"""
