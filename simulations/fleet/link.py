"""The file of the kit that touches Flower's private names: what its command line does not tell, asked of the SuperLink.

tests/test_fleet.py breaks here first when Flower moves them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_public_key
from flwr.common.constant import HEARTBEAT_DEFAULT_INTERVAL, HEARTBEAT_PATIENCE
from flwr.proto.control_pb2 import ListNodesRequest
from flwr.proto.fleet_pb2 import ActivateNodeRequest, DeactivateNodeRequest
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

from fedkd.errors import UserError
from simulations.fleet.kit import Kit


@dataclass(frozen=True, slots=True)
class Node:
    """A registered host as the SuperLink sees it.

    host       its name in the kit; None: its key is none of the kit's.
    last_seen  its last heartbeat; of one that is offline, when the server took note: as it ended, or a minute after its
               last heartbeat (Flower does not tell which). None: it never came.
    """

    id: int
    host: str | None
    online: bool
    last_seen: datetime | None


def nodes(kit: Kit) -> list[Node]:
    """Every host that is registered at the SuperLink of this machine."""
    server = kit.folder if kit.role == "server" else kit.folder / "server"
    name_of = {_public(path.read_bytes()): path.stem for path in (server / "keys").glob("*.pub")}
    try:
        client = ControlHttpClient.from_server_address(
            f"127.0.0.1:{kit.link_port}", insecure=False, root_certificates=str(server / "ca.crt"), interceptors=[]
        )
    except OSError as error:
        raise UserError(
            f"expected the authority's certificate in {server / 'ca.crt'}, but: {error}; "
            "copy it from the kit's folder ca."
        ) from error
    try:
        listed = client.ListNodes(ListNodesRequest())
    except httpx.HTTPError as error:
        raise UserError(
            f"expected the SuperLink at port {kit.link_port} of this machine, but: {error}; "
            "start server/superlink.sh, or ask on the server's machine."
        ) from error
    finally:
        client.close()
    found = []
    for node in listed.nodes_info:
        beat = node.online_until - (HEARTBEAT_PATIENCE * node.heartbeat_interval if node.status == "online" else 0)
        seen = datetime.fromtimestamp(beat, UTC) if node.last_activated_at else None
        if node.status != "unregistered":
            found.append(Node(node.node_id, name_of.get(node.public_key), node.status == "online", seen))
    return found


def is_admitted(kit: Kit, key: ec.EllipticCurvePrivateKey) -> bool:
    """Whether the server lets a host with this key in; it is let out again at once.

    False where the key is not registered, and where a SuperNode with it is in already: the server tells no difference.
    """
    public = key.public_key()
    client = FleetHttpClient.from_server_address(
        kit.address, False, str(kit.folder / "ca.crt"), interceptors=[NodeAuthHttpInterceptor(key, public)]
    )
    try:
        request = ActivateNodeRequest(
            public_key=public_key_to_bytes(public), heartbeat_interval=HEARTBEAT_DEFAULT_INTERVAL
        )
        node_id = client.ActivateNode(request).node_id
        client.DeactivateNode(DeactivateNodeRequest(node_id=node_id))
    except httpx.HTTPStatusError as error:
        if error.response.status_code != httpx.codes.PRECONDITION_FAILED:
            raise
        return False
    finally:
        client.close()
    return True


def _public(openssh: bytes) -> bytes:
    key = load_ssh_public_key(openssh)
    assert isinstance(key, ec.EllipticCurvePublicKey)
    return public_key_to_bytes(key)
