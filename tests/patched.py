"""Imported first where servers are forked from: as ``octowait serve`` does, before anything that brings sockets."""

from gevent import monkey

monkey.patch_all()
