"""A local proxy between programs and the API of a model, which shortens the tool results of each request.

`places` finds them in a request, `plan` decides in which form each is sent, `app` passes requests on and
answers back, `serve` runs it. Nothing here is imported before the proxy is started.
"""
