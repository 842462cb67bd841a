"""What the broker has to say, by connection, until its loop has sent it.

The loop packs each list into frames, in order, and empties the dict.  A list is made when a turn
has its first message for a connection, and that moment is the sign of life that it gives the peer.
"""

from __future__ import annotations

from collections.abc import Mapping

from broker.sessions import Session
from dialgate.codes import Code
from dialgate.wire.bodies import Bye, Error, Lost
from dialgate.wire.body_codec import encode
from dialgate.wire.limits import TEXT_CHARS_MAX
from dialgate.wire.verbs import Role, Verb

__all__ = ["Outbox", "Post"]


class Outbox(dict[bytes, list[bytes]]):
    """Messages for one role's peers, by routing id."""

    def __init__(self, post: Post, sessions: Mapping[bytes, Session]) -> None:
        super().__init__()
        self._post = post
        self._sessions = sessions

    def __missing__(self, connection: bytes) -> list[bytes]:
        session = self._sessions.get(connection)
        if session is not None:
            session.sent_at = self._post.now
        messages: list[bytes] = []
        self[connection] = messages
        return messages


class Post:
    """Both outboxes."""

    def __init__(self, sessions: Mapping[Role, Mapping[bytes, Session]]) -> None:
        self.now = 0.0
        """Time of the input that is being worked on."""
        self.agents = Outbox(self, sessions[Role.AGENT])
        self.workers = Outbox(self, sessions[Role.WORKER])

    def outbox(self, role: Role) -> Outbox:
        """Return the outbox of `role`'s peers."""
        return self.agents if role is Role.AGENT else self.workers

    def send(self, session: Session, message: bytes) -> None:
        """Send an encoded message to a session."""
        self.outbox(session.role)[session.connection].append(message)

    def error(self, role: Role, connection: bytes, code: Code, text: str) -> None:
        """Send ERROR to a connection, with or without a session."""
        body = Error(code=code, text=text[:TEXT_CHARS_MAX])
        self.outbox(role)[connection].append(encode(Verb.ERROR, body))

    def bye(self, role: Role, connection: bytes, code: Code) -> None:
        """Send BYE to a connection, with or without a session."""
        self.outbox(role)[connection].append(encode(Verb.BYE, Bye(code=code)))

    def no_session(self, role: Role, connection: bytes, code: Code) -> None:
        """Send the LOST that means: open a new session."""
        self.outbox(role)[connection].append(encode(Verb.LOST, Lost(code=code)))
