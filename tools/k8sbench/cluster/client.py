"""Calls to the API server over plain HTTPS, and watches."""

import http.client
import json
import ssl
import threading
import urllib.parse


class Refused(Exception):
    """What the API server refused, in its words."""

    def __init__(self, status, said):
        super().__init__(f"{status}: {said.get('message', said)}")
        self.status, self.said = status, said


class Client:
    """The API server as one user sees it; each thread has a connection of its own."""

    def __init__(self, endpoint, authority, token):
        self.endpoint, self.token = endpoint, token
        self.host = urllib.parse.urlsplit(endpoint).netloc
        self.context = ssl.create_default_context(cafile=str(authority))
        self.local = threading.local()

    def connect(self, patience):
        return http.client.HTTPSConnection(self.host, timeout=patience, context=self.context)

    def headers(self, kind="application/json"):
        return {"Authorization": f"Bearer {self.token}", "Content-Type": kind, "Accept": "application/json"}

    def call(self, method, path, body=None, kind="application/json"):
        """Makes a call and returns what was answered."""
        data = None if body is None else json.dumps(body)
        for attempt in range(2):
            connection = getattr(self.local, "connection", None)
            fresh = connection is None
            if fresh:
                connection = self.local.connection = self.connect(30)
            try:
                connection.request(method, path, data, self.headers(kind))
                answer = connection.getresponse()
                text = answer.read()
                break
            except (OSError, http.client.HTTPException):
                connection.close()
                self.local.connection = None
                # A connection that was kept may have been closed meanwhile.
                if fresh or attempt:
                    raise
        if answer.headers.get_content_type() == "application/json":
            said = json.loads(text)
        else:
            # Logs, and what is wrong before anything was understood.
            said = {"message": text.decode(errors="replace")}
        if answer.status >= 400:
            raise Refused(answer.status, said)
        return said

    def get(self, path):
        """Returns an object; none if there is none."""
        try:
            return self.call("GET", path)
        except Refused as refusal:
            if refusal.status == 404:
                return None
            raise

    def patch(self, path, body):
        """Changes an object; none if there is none any more."""
        try:
            return self.call("PATCH", path, body, "application/merge-patch+json")
        except Refused as refusal:
            if refusal.status in (404, 409):
                return None
            raise

    def delete(self, path, **options):
        try:
            return self.call("DELETE", path, {"kind": "DeleteOptions", "apiVersion": "v1"} | options)
        except Refused as refusal:
            if refusal.status in (404, 409):
                return None
            raise

    def watch(self, path, told):
        """Tells of each object that is there, and of each change, for ever: `told(kind, object)`.

        The kind is ADDED, MODIFIED or DELETED. What is gone after an interruption is told as deleted.
        """
        known = {}
        while True:
            try:
                version = self.listed(path, known, told)
                self.changes(path, version, known, told)
            except (OSError, http.client.HTTPException, Refused, ValueError):
                # The server ends watches from time to time, and this program with it in the end.
                threading.Event().wait(0.5)

    def listed(self, path, known, told):
        listed = self.call("GET", path)
        there = {item["metadata"]["uid"]: item for item in listed["items"]}
        for uid in known.keys() - there.keys():
            told("DELETED", known.pop(uid))
        for uid, item in there.items():
            told("MODIFIED" if uid in known else "ADDED", item)
            known[uid] = item
        return listed["metadata"]["resourceVersion"]

    def changes(self, path, version, known, told):
        connection = self.connect(None)
        try:
            query = f"{path}?watch=true&allowWatchBookmarks=true&resourceVersion={version}"
            connection.request("GET", query, headers=self.headers())
            answer = connection.getresponse()
            if answer.status != 200:
                raise Refused(answer.status, {"message": answer.read().decode(errors="replace")})
            while line := answer.readline():
                change = json.loads(line)
                if change["type"] == "ERROR":
                    return
                if change["type"] == "BOOKMARK":
                    continue
                uid = change["object"]["metadata"]["uid"]
                if change["type"] == "DELETED":
                    known.pop(uid, None)
                else:
                    known[uid] = change["object"]
                told(change["type"], change["object"])
        finally:
            connection.close()
