"""Router administration results, numbered as in `mprerror.h`.

One member a row of `docs/error-codes.tsv`; a test holds the two together.
"""

from __future__ import annotations

from dialgate.codes.code import NumberedCode

__all__ = ["Mprerror"]


class Mprerror(NumberedCode, namespace="mpr"):
    """Router administration results, numbered as in `mprerror.h`."""

    ERROR_ROUTER_STOPPED = 900  # router is not running
    ERROR_ALREADY_CONNECTED = 901  # interface connected already
    ERROR_UNKNOWN_PROTOCOL_ID = 902  # protocol id unknown to router
    ERROR_DDM_NOT_RUNNING = 903  # demand-dial manager not running
    ERROR_INTERFACE_ALREADY_EXISTS = 904  # interface name taken
    ERROR_NO_SUCH_INTERFACE = 905  # interface name unknown
    ERROR_INTERFACE_NOT_CONNECTED = 906  # interface not connected
    ERROR_PROTOCOL_STOP_PENDING = 907  # protocol is stopping
    ERROR_INTERFACE_CONNECTED = 908  # interface connected, cannot delete
    ERROR_NO_INTERFACE_CREDENTIALS_SET = 909  # no credentials on interface
    ERROR_ALREADY_CONNECTING = 910  # interface is connecting already
    ERROR_UPDATE_IN_PROGRESS = 911  # routing update under way
    ERROR_INTERFACE_CONFIGURATION = 912  # interface clash at remote router
    ERROR_NOT_CLIENT_PORT = 913  # port reserved for routers
    ERROR_NOT_ROUTER_PORT = 914  # port reserved for clients
    ERROR_CLIENT_INTERFACE_ALREADY_EXISTS = 915  # client interface name connected already
    ERROR_INTERFACE_DISABLED = 916  # interface disabled
    ERROR_AUTH_PROTOCOL_REJECTED = 917  # peer refused the auth protocol
    ERROR_NO_AUTH_PROTOCOL_AVAILABLE = 918  # no auth protocol usable
    ERROR_PEER_REFUSED_AUTH = 919  # peer and server auth settings do not match
    ERROR_REMOTE_NO_DIALIN_PERMISSION = 920  # remote account lacks dial-in right
    ERROR_REMOTE_PASSWD_EXPIRED = 921  # remote account/password expired
    ERROR_REMOTE_ACCT_DISABLED = 922  # remote account off
    ERROR_REMOTE_RESTRICTED_LOGON_HOURS = 923  # remote account: wrong hour
    ERROR_REMOTE_AUTHENTICATION_FAILURE = 924  # remote account: name/password refused
    ERROR_INTERFACE_HAS_NO_DEVICES = 925  # no routing port free
    ERROR_IDLE_DISCONNECTED = 926  # port dropped for idleness
    ERROR_INTERFACE_UNREACHABLE = 927  # interface unreachable
    ERROR_SERVICE_IS_PAUSED = 928  # dial service is paused
    ERROR_INTERFACE_DISCONNECTED = 929  # dropped by administrator
    ERROR_AUTH_SERVER_TIMEOUT = 930  # authentication server did not answer in time
    ERROR_PORT_LIMIT_REACHED = 931  # multilink port limit reached
    ERROR_PPP_SESSION_TIMEOUT = 932  # user's time limit reached
    ERROR_MAX_LAN_INTERFACE_LIMIT = 933  # LAN interface limit reached
    ERROR_MAX_WAN_INTERFACE_LIMIT = 934  # demand-dial interface limit reached
    ERROR_MAX_CLIENT_INTERFACE_LIMIT = 935  # client limit reached
    ERROR_BAP_DISCONNECTED = 936  # dropped by bandwidth policy
    ERROR_USER_LIMIT = 937  # another connection of the kind in use
    ERROR_NO_RADIUS_SERVERS = 938  # no RADIUS server found
    ERROR_INVALID_RADIUS_RESPONSE = 939  # RADIUS answer invalid (check shared secret)
    ERROR_DIALIN_HOURS_RESTRICTION = 940  # dial-in hour not permitted
    ERROR_ALLOWED_PORT_TYPE_RESTRICTION = 941  # port type not permitted
    ERROR_AUTH_PROTOCOL_RESTRICTION = 942  # auth method not permitted by policy
    ERROR_BAP_REQUIRED = 943  # BAP needed for this user
    ERROR_DIALOUT_HOURS_RESTRICTION = 944  # dial-out hour not permitted
    ERROR_ROUTER_CONFIG_INCOMPATIBLE = 945  # saved router settings incompatible
    WARNING_NO_MD5_MIGRATION = 946  # warning: old accounts not migrated
    ERROR_PROTOCOL_ALREADY_INSTALLED = 948  # transport installed already
    ERROR_INVALID_SIGNATURE_LENGTH = 949  # RADIUS signature length wrong
    ERROR_INVALID_SIGNATURE = 950  # RADIUS signature wrong
    ERROR_NO_SIGNATURE = 951  # RADIUS signature missing
    ERROR_INVALID_PACKET_LENGTH_OR_ID = 952  # RADIUS length/id wrong
    ERROR_INVALID_ATTRIBUTE_LENGTH = 953  # RADIUS attribute length wrong
    ERROR_INVALID_PACKET = 954  # RADIUS packet invalid
    ERROR_AUTHENTICATOR_MISMATCH = 955  # RADIUS authenticator mismatch
    ERROR_REMOTEACCESS_NOT_CONFIGURED = 956  # remote access not configured or not running (Win7+)
