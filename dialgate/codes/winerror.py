"""General results, numbered as in `winerror.h`.

One member a row of `docs/error-codes.tsv`; a test holds the two together.
"""

from __future__ import annotations

from dialgate.codes.code import NumberedCode

__all__ = ["Winerror"]


class Winerror(NumberedCode, namespace="win"):
    """General results, numbered as in `winerror.h`."""

    ERROR_SUCCESS = 0  # success
    NO_ERROR = 0  # success (alias of 0)
    ERROR_INVALID_FUNCTION = 1  # operation not known
    ERROR_ACCESS_DENIED = 5  # caller is not allowed
    ERROR_INVALID_HANDLE = 6  # handle is not valid
    ERROR_NOT_ENOUGH_MEMORY = 8  # too little memory
    ERROR_INVALID_DATA = 13  # data is malformed
    ERROR_OUTOFMEMORY = 14  # memory exhausted
    ERROR_NOT_READY = 21  # device is not ready
    ERROR_BAD_LENGTH = 24  # length field is wrong
    ERROR_GEN_FAILURE = 31  # attached device does not work
    ERROR_NOT_SUPPORTED = 50  # request not supported
    ERROR_REM_NOT_LIST = 51  # remote computer unavailable
    ERROR_UNEXP_NET_ERR = 59  # unexpected network error
    ERROR_NETNAME_DELETED = 64  # network name is gone
    ERROR_TOO_MANY_SESS = 69  # session limit reached
    ERROR_INVALID_PARAMETER = 87  # argument is wrong
    ERROR_BROKEN_PIPE = 109  # pipe ended
    ERROR_CALL_NOT_IMPLEMENTED = 120  # call not implemented
    ERROR_SEM_TIMEOUT = 121  # semaphore wait timed out
    ERROR_INSUFFICIENT_BUFFER = 122  # output buffer too small
    ERROR_MOD_NOT_FOUND = 126  # module (DLL) not found
    ERROR_PROC_NOT_FOUND = 127  # entry point not found
    ERROR_BUSY = 170  # resource is in use
    ERROR_ALREADY_EXISTS = 183  # object exists already
    ERROR_NO_DATA = 232  # pipe is closing / no data
    ERROR_MORE_DATA = 234  # more data than fitted
    WAIT_TIMEOUT = 258  # a wait ran out of time
    ERROR_NO_MORE_ITEMS = 259  # nothing further to list
    ERROR_TOO_MANY_POSTS = 298  # semaphore posted too often
    ERROR_OPERATION_ABORTED = 995  # I/O cancelled (thread exit or request)
    ERROR_IO_INCOMPLETE = 996  # overlapped I/O not finished
    ERROR_IO_PENDING = 997  # overlapped I/O under way
    ERROR_INVALID_MESSAGE = 1002  # message is not valid
    ERROR_SERVICE_REQUEST_TIMEOUT = 1053  # service did not answer in time
    ERROR_SERVICE_NOT_ACTIVE = 1062  # service is not started
    ERROR_SHUTDOWN_IN_PROGRESS = 1115  # system is shutting down
    ERROR_COUNTER_TIMEOUT = 1121  # counter ran out of time (serial I/O timeout)
    ERROR_DEVICE_NOT_CONNECTED = 1167  # device is unplugged
    ERROR_NOT_FOUND = 1168  # item not found
    ERROR_CANCELLED = 1223  # cancelled by the user
    ERROR_CONNECTION_REFUSED = 1225  # peer refused the connection
    ERROR_GRACEFUL_DISCONNECT = 1226  # connection closed cleanly
    ERROR_HOST_UNREACHABLE = 1232  # host unreachable
    ERROR_PORT_UNREACHABLE = 1234  # no service at the network port
    ERROR_REQUEST_ABORTED = 1235  # request was aborted
    ERROR_CONNECTION_ABORTED = 1236  # connection aborted locally
    ERROR_RETRY = 1237  # could not finish, try again
    ERROR_LOGIN_TIME_RESTRICTION = 1239  # log-on outside allowed hours
    ERROR_LOGIN_WKSTA_RESTRICTION = 1240  # log-on from this station forbidden
    ERROR_NO_LOGON_SERVERS = 1311  # no logon server reachable
    ERROR_NO_SUCH_LOGON_SESSION = 1312  # logon session unknown
    ERROR_INVALID_ACCOUNT_NAME = 1315  # account name malformed
    ERROR_NO_SUCH_USER = 1317  # no such account
    ERROR_WRONG_PASSWORD = 1323  # old password is wrong
    ERROR_ILL_FORMED_PASSWORD = 1324  # new password has illegal characters
    ERROR_PASSWORD_RESTRICTION = 1325  # new password breaks policy
    ERROR_LOGON_FAILURE = 1326  # bad user name or password
    ERROR_ACCOUNT_RESTRICTION = 1327  # account restriction forbids log-on
    ERROR_INVALID_LOGON_HOURS = 1328  # hour not allowed for account
    ERROR_INVALID_WORKSTATION = 1329  # station not allowed for account
    ERROR_PASSWORD_EXPIRED = 1330  # password has run out
    ERROR_ACCOUNT_DISABLED = 1331  # account is switched off
    ERROR_NONE_MAPPED = 1332  # no name could be mapped to an id
    ERROR_SERVER_DISABLED = 1341  # server is currently disabled
    ERROR_CANT_ACCESS_DOMAIN_INFO = 1351  # domain configuration unreadable
    ERROR_NO_SUCH_DOMAIN = 1355  # no such domain, or unreachable
    ERROR_INTERNAL_ERROR = 1359  # internal fault
    ERROR_LOGON_TYPE_NOT_GRANTED = 1385  # kind of log-on not granted here
    ERROR_LICENSE_QUOTA_EXCEEDED = 1395  # licence limit reached
    ERROR_TIME_SKEW = 1398  # clocks differ too much
    ERROR_NO_SYSTEM_RESOURCES = 1450  # system resources exhausted
    ERROR_TIMEOUT = 1460  # operation ran out of time
    ERROR_INVALID_USER_BUFFER = 1784  # buffer not valid for the operation
    ERROR_NO_TRUST_LSA_SECRET = 1786  # station has no trust secret
    ERROR_TRUSTED_DOMAIN_FAILURE = 1788  # trust between domains failed
    ERROR_ACCOUNT_EXPIRED = 1793  # account has run out
    ERROR_PASSWORD_MUST_CHANGE = 1907  # password must change before first log-on
    ERROR_DOMAIN_CONTROLLER_NOT_FOUND = 1908  # no domain controller found
    ERROR_ACCOUNT_LOCKED_OUT = 1909  # account locked after too many tries
    ERROR_NOT_CONNECTED = 2250  # network connection does not exist
    ERROR_DATABASE_FAILURE = 4313  # database could not be read or written
    ERROR_INVALID_STATE = 5023  # resource not in the right state
