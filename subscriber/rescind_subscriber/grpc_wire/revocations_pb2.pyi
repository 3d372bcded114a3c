from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class WatchRequest(_message.Message):
    __slots__ = ("begin", "report")
    BEGIN_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    begin: Begin
    report: Report
    def __init__(self, begin: _Optional[_Union[Begin, _Mapping]] = ..., report: _Optional[_Union[Report, _Mapping]] = ...) -> None: ...

class Begin(_message.Message):
    __slots__ = ("cursor", "oldest", "stored_only")
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    OLDEST_FIELD_NUMBER: _ClassVar[int]
    STORED_ONLY_FIELD_NUMBER: _ClassVar[int]
    cursor: str
    oldest: bool
    stored_only: bool
    def __init__(self, cursor: _Optional[str] = ..., oldest: _Optional[bool] = ..., stored_only: _Optional[bool] = ...) -> None: ...

class Report(_message.Message):
    __slots__ = ("subscriber", "report")
    SUBSCRIBER_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    subscriber: str
    report: bytes
    def __init__(self, subscriber: _Optional[str] = ..., report: _Optional[bytes] = ...) -> None: ...

class WatchResponse(_message.Message):
    __slots__ = ("standing", "event", "head")
    STANDING_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    standing: Standing
    event: Event
    head: bytes
    def __init__(self, standing: _Optional[_Union[Standing, _Mapping]] = ..., event: _Optional[_Union[Event, _Mapping]] = ..., head: _Optional[bytes] = ...) -> None: ...

class Standing(_message.Message):
    __slots__ = ("cursor",)
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    cursor: str
    def __init__(self, cursor: _Optional[str] = ...) -> None: ...

class Event(_message.Message):
    __slots__ = ("signed", "cursor")
    SIGNED_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    signed: bytes
    cursor: str
    def __init__(self, signed: _Optional[bytes] = ..., cursor: _Optional[str] = ...) -> None: ...
