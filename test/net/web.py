#!/usr/bin/env python3
"""web.py ADDRESS PORT DIRECTORY: serves the files of a directory, by sendfile so that it is not what a
measurement measures. For the lab only: it trusts everybody who can reach it."""
import http.server
import socket
import socketserver
import sys


class Handler(http.server.SimpleHTTPRequestHandler):
    def copyfile(self, source, outputfile):
        outputfile.flush()
        self.connection.sendfile(source)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
    daemon_threads = True

    def server_bind(self):
        # HTTPServer's own asks the DNS for our name, which nobody answers here.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = sys.argv[1], int(sys.argv[2])


def main():
    def handler(*args):
        return Handler(*args, directory=sys.argv[3])

    Server((sys.argv[1], int(sys.argv[2])), handler).serve_forever()


main()
