"""HTTP/1.1 below WSGI: what gunicorn does for each request, at less cost where the request or the answer is plain."""
