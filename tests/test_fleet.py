"""The kit, as files: keys and certificates that others' programs accept, scripts that parse, secrets that stay."""

import json
import re
import shutil
import signal
import ssl
import stat
import subprocess
import warnings
from datetime import UTC, datetime, timedelta
from typing import ClassVar

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from fedkd.errors import Remark, UserError
from fedkd.record import Record
from simulations.cli import main
from simulations.fleet import certificates, place
from simulations.fleet.certificates import days_left, names_of, read_certificate
from simulations.fleet.checks.host import _places, admission
from simulations.fleet.checks.machine import _counts, disk
from simulations.fleet.checks.network import _clock
from simulations.fleet.checks.server import hosts
from simulations.fleet.gate import OPEN
from simulations.fleet.keys import read_key
from simulations.fleet.kit import Host, hosts_from, load_kit, server_from, user
from simulations.fleet.link import Node
from simulations.fleet.make import init
from simulations.fleet.place import FleetCommand
from simulations.fleet.scripts import read_environment
from simulations.fleet.status import _seen
from simulations.flwr_command import is_over, judge
from simulations.processes import free_port


@pytest.fixture
def kit(tmp_path):
    list(init(tmp_path / "kit", "fleet.example.org", ["cam1=v01", "cam2=v02,v03"], days=30))
    return tmp_path / "kit"


def secrets(kit):
    return {path: path.read_bytes() for name in ("key", "ca.key", "server.key") for path in kit.rglob(name)}


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_what_is_secret_is_its_owners_alone(kit):
    assert len(secrets(kit)) == 4
    assert {mode(path) for path in secrets(kit)} == {0o600}
    assert {mode(path) for path in kit.rglob("*") if path.is_dir()} == {0o700}
    assert not [path for path in (kit / "hosts").rglob("*") if path.name in ("ca.key", "server.key")]
    assert not list((kit / "server").rglob("key")), "a host's key leaves the kit with that host only"


def test_a_host_knows_no_other_host(kit):
    texts = [path.read_text() for path in (kit / "hosts" / "cam1").iterdir() if path.name != "key"]
    assert not any("cam2" in text or "v02" in text for text in texts)


def test_keys_are_those_of_ssh_keygen(kit):
    key = kit / "hosts" / "cam1" / "key"
    assert isinstance(read_key(key).curve, ec.SECP384R1)
    assert (kit / "server" / "keys" / "cam1.pub").read_bytes() == key.with_name("key.pub").read_bytes()
    if not shutil.which("ssh-keygen"):
        pytest.skip("no ssh-keygen here")
    said = subprocess.run(["ssh-keygen", "-y", "-f", key], capture_output=True, text=True, check=True).stdout
    assert said.split()[:2] == key.with_name("key.pub").read_text().split()[:2]


def test_the_servers_certificate_is_for_its_name_and_its_loopback(kit):
    certificate = read_certificate(kit / "server" / "server.crt")
    assert names_of(certificate) == {"fleet.example.org", "localhost", "127.0.0.1"}
    assert 29.9 < days_left(certificate) < 30
    authority = read_certificate(kit / "ca" / "ca.crt")
    certificate.verify_directly_issued_by(authority)
    assert authority.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    context = ssl.create_default_context(cafile=kit / "hosts" / "cam1" / "ca.crt")
    assert len(context.get_ca_certs()) == 1
    ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(
        kit / "server" / "server.crt", kit / "server" / "server.key"
    )  # the key fits


def test_openssl_accepts_the_certificate_under_strict_rules(kit):
    if not shutil.which("openssl"):
        pytest.skip("no openssl here")
    subprocess.run(
        ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", "fleet.example.org",
         "-CAfile", kit / "ca" / "ca.crt", kit / "server" / "server.crt"],
        check=True, capture_output=True,
    )  # fmt: skip


def test_no_checkout_takes_the_kit_in(kit):
    if not shutil.which("git"):
        pytest.skip("no git here")
    subprocess.run(["git", "init", "--quiet", kit.parent], check=True)
    said = subprocess.run(
        ["git", "status", "--porcelain", "-uall"], cwd=kit.parent, capture_output=True, text=True, check=True
    )
    assert not said.stdout


def test_whose_the_kit_is_not_neither_makes_it_anew_nor_is_believed(kit, monkeypatch, capsys):
    owner = kit.stat().st_uid
    monkeypatch.setattr("os.geteuid", lambda: owner + 1)
    with pytest.raises(UserError, match=rf"by {user(owner)}, the owner of .* got {user(owner + 1)}; sudo"):
        list(init(kit, None, ["cam3=v04"]))
    assert len(load_kit(kit, "fleet").hosts) == 2
    assert main(["fleet", "check", str(kit / "hosts" / "cam1")]) == 1
    assert re.search(rf"WRONG user +{user(owner + 1)} asks, the folder is {user(owner)}'s", capsys.readouterr().out)


def test_a_folder_that_cannot_be_read_is_said_to_be_anothers(kit, monkeypatch):
    def shut(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.read_text", shut)
    with pytest.raises(UserError, match="for its owner alone; ask as the user that it belongs to"):
        load_kit(kit, "fleet")


def test_again_adds_hosts_and_keeps_what_is_secret_or_changed(kit):
    (kit / "hosts" / "cam1" / "environment").write_text("FEDKD_DATA=/mine\n")
    (kit / "ca" / "ca.key").rename(kit.parent / "offline")
    before, certificate = secrets(kit), (kit / "server" / "server.crt").read_bytes()
    lines = list(init(kit, None, ["cam3=v04"]))
    assert before.items() < secrets(kit).items()
    assert (kit / "server" / "server.crt").read_bytes() == certificate
    assert (kit / "hosts" / "cam1" / "environment").read_text() == "FEDKD_DATA=/mine\n"
    assert [host.name for host in load_kit(kit, "fleet").hosts] == ["cam1", "cam2", "cam3"]
    assert "kept hosts/cam1/key: serves v01" in lines
    assert "made hosts/cam3/key: serves v04" in lines


def test_a_key_that_has_left_the_kit_is_not_made_again(kit):
    (kit / "hosts" / "cam1" / "key").unlink()
    public = (kit / "server" / "keys" / "cam1.pub").read_bytes()
    assert "kept hosts/cam1/key: has left the kit; serves v01" in list(init(kit, None, []))
    assert not (kit / "hosts" / "cam1" / "key").exists()
    assert (kit / "server" / "keys" / "cam1.pub").read_bytes() == public


def test_a_view_moves_from_a_host_that_is_dropped(kit):
    key, public = (kit / "hosts" / "cam1" / "key").read_bytes(), kit / "server" / "keys" / "cam1.pub"
    [line] = [line for line in init(kit, None, ["cam3=v01"], drop=["cam1"]) if line.startswith("dropped")]
    assert "unregister its key" in line
    hosts = load_kit(kit, "fleet").hosts
    assert {host.name: host.views for host in hosts} == {"cam2": ("v02", "v03"), "cam3": ("v01",)}
    assert load_kit(kit / "server", "server").hosts == hosts
    assert not public.exists() and not (kit / "hosts" / "cam1").exists()
    [aside] = (kit / "dropped").iterdir()
    assert (aside / "key").read_bytes() == key
    list(init(kit, None, ["cam1=v05"]))
    assert (kit / "hosts" / "cam1" / "key").read_bytes() != key, "Flower never takes an unregistered key again"


def test_who_is_not_there_cannot_be_dropped_nor_can_all(kit):
    with pytest.raises(UserError, match="expected one of cam1, cam2 to drop, got 'cam9'"):
        list(init(kit, None, [], drop=["cam9"]))
    with pytest.raises(UserError, match="expected at least one host"):
        list(init(kit, None, [], drop=["cam1", "cam2"]))
    assert len(load_kit(kit, "fleet").hosts) == 2


@pytest.mark.parametrize("lost", ["ca/ca.crt", "hosts/cam1/key.pub", "server/keys/cam1.pub", "kit.json"])
def test_an_init_that_was_interrupted_is_completed_by_the_same_words(kit, lost):
    before, public = secrets(kit), (kit / "server" / "keys" / "cam1.pub").read_bytes()
    (kit / lost).unlink()
    (kit / "hosts" / "cam1" / "key.part").write_bytes(b"half of another")
    list(init(kit, "fleet.example.org", ["cam1=v01", "cam2=v02,v03"]))
    assert secrets(kit) == before
    assert (kit / "server" / "keys" / "cam1.pub").read_bytes() == public
    assert (kit / "hosts" / "cam1" / "key.pub").read_bytes() == public
    authority = read_certificate(kit / "hosts" / "cam1" / "ca.crt")
    read_certificate(kit / "server" / "server.crt").verify_directly_issued_by(authority)


def test_an_authority_that_is_offline_as_a_whole_stays_the_fleets(kit):
    shutil.rmtree(kit / "ca")
    list(init(kit, None, ["cam3=v04"]))
    authority = read_certificate(kit / "hosts" / "cam3" / "ca.crt")
    read_certificate(kit / "server" / "server.crt").verify_directly_issued_by(authority)
    assert not (kit / "ca" / "ca.key").exists()


def test_a_server_that_is_renamed_keeps_its_port(tmp_path):
    list(init(tmp_path, "fleet.example.org:9443", ["cam1=v01"]))
    list(init(tmp_path, "other.example.org", [], renew=True))
    assert (load_kit(tmp_path, "fleet").server, load_kit(tmp_path, "fleet").port) == ("other.example.org", 9443)


def test_a_key_that_is_damaged_is_named(kit):
    host = kit / "hosts" / "cam1"
    (host / "key").write_bytes(b"")
    (host / "key.pub").unlink()
    with pytest.raises(UserError, match=r"expected a host's key in .*cam1/key"):
        list(init(kit, None, []))


def test_a_certificate_is_renewed_with_its_key_kept_and_the_authority_at_hand(kit):
    before = secrets(kit)
    list(init(kit, "other.example.org", [], renew=True))
    assert secrets(kit) == before
    assert "other.example.org" in names_of(read_certificate(kit / "server" / "server.crt"))
    (kit / "ca" / "ca.key").unlink()
    with pytest.raises(UserError, match="put it back"):
        list(init(kit, None, [], renew=True))


@pytest.mark.parametrize("days", ["nan", "inf", "1e9", "5000", "0", "-1"])
def test_no_certificate_outlives_its_authority(days, tmp_path, capsys):
    asked = ["--server", "localhost", "--host", "cam1=v01", f"--days={days}"]
    assert main(["fleet", "init", str(tmp_path / "kit"), *asked]) == 2
    assert capsys.readouterr().err.startswith("fedkd: expected days above 0 and below the authority's 3650, got ")
    assert not (tmp_path / "kit").exists()


def test_the_certificate_of_an_old_authority_may_have_what_is_left(kit, monkeypatch):
    monkeypatch.setattr(certificates, "AUTHORITY_DAYS", 100)
    for folder in ("ca", "server"):
        (kit / folder / "ca.crt").unlink()
    with pytest.raises(UserError, match="at most the 100 days that the authority has left, got 365; add --days"):
        list(init(kit, None, [], renew=True))
    list(init(kit, None, [], renew=True, days=99))


def test_scripts_parse_and_units_and_compose_say_what_they_should(kit):
    scripts = list(kit.rglob("*.sh"))
    assert len(scripts) == 5
    for script in scripts:
        subprocess.run(["sh", "-n", script], check=True)
    host = kit / "hosts" / "cam2"
    assert 'views=\\"v02,v03\\"' in (host / "supernode.sh").read_text()
    unit = (host / "fedkd-cam2.service").read_text()
    assert "\nRestart=always\n" in unit and "\nStartLimitIntervalSec=0\n" in unit
    compose = (host / "compose.yaml").read_text()
    service = yaml.safe_load(compose)["services"]["supernode"]
    assert service["restart"] == "always" and service["init"] is True
    asked = set(re.findall(r"\$\{(\w+)\}", compose))  # those without a default
    assert asked <= read_environment(host).keys()
    quiet = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1", "OMP_NUM_THREADS": "1"}
    assert quiet.items() <= read_environment(host).items()
    assert read_environment(host)["FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION"] == "1"


@pytest.mark.parametrize("name", ["kit", 'a "b"% $c\\d'])
def test_systemd_accepts_the_units(name, tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd-analyze here")
    kit = tmp_path / name
    list(init(kit, "fleet.example.org", ["cam1=v01", "cam2=v02,v03"]))
    units = [shutil.copy(unit, tmp_path) for unit in kit.rglob("*.service")]
    said = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=True).stderr
    newer = {"RestartSteps", "RestartMaxDelaySec"}  # of systemd 254
    assert set(re.findall(r"Unknown key '(\w+)'", said)) <= newer
    assert not [line for line in said.splitlines() if "fedkd-" in line and "Unknown key" not in line]


def test_a_unit_names_its_script_as_one_word(tmp_path):
    kit = tmp_path / 'a "b" 5% $c'
    list(init(kit, "fleet.example.org", ["cam1=v01"]))
    script = rf"{tmp_path}/a \"b\" 5%% $$c/server/gate.sh"
    assert f'\nExecStart=/bin/sh "{script}"\n' in (kit / "server" / "fedkd-gate.service").read_text()


def test_a_path_too_long_for_a_socket_is_found_on_the_host(kit):
    host = load_kit(kit / "hosts" / "cam1", "host")
    assert disk(host, {"FEDKD_STATE": str(kit)}).ok
    found = disk(host, {"FEDKD_STATE": str(kit / ("x" * 100))})
    assert not found.ok and "at most 80 bytes" in found.says and "shorter FEDKD_STATE" in found.says


@pytest.mark.parametrize(
    ("typed", "understood"),
    [
        ("fleet.example.org", ("fleet.example.org", None)),
        ("host:", ("host", None)),
        ("fleet.example.org:443", ("fleet.example.org", 443)),
        ("10.0.0.5:9000", ("10.0.0.5", 9000)),
        ("[fd00::5]:9000", ("fd00::5", 9000)),
        ("fd00::5", ("fd00::5", None)),
        ("[2001:DB8:0::5]:9000", ("2001:db8::5", 9000)),
    ],
)
def test_a_servers_name(typed, understood):
    assert server_from(typed) == understood


def test_an_address_that_is_spelt_otherwise_is_the_same_server(tmp_path):
    list(init(tmp_path, "[2001:DB8::0:5]:9000", ["cam1=v01"]))
    again = list(init(tmp_path, "2001:db8:0::5", []))
    assert [line for line in again if line.startswith("kept server/server.crt")]
    assert load_kit(tmp_path, "fleet").address == "[2001:db8::5]:9000"


@pytest.mark.parametrize("typed", ["", "a b", "host:0", "host:99999", "https://host", "-host", 'ho"st', "h$(x)"])
def test_what_is_no_servers_name(typed):
    with pytest.raises(UserError, match="expected a server such as"):
        server_from(typed)


@pytest.mark.parametrize(
    "typed", ["cam1", "cam1=", "=v01", "Cam=v01", "cam1=v01,,v02", "../x=v01", 'cam1=v"1', "c=v 1"]
)
def test_what_is_no_host(typed):
    with pytest.raises(UserError, match="expected a host such as"):
        hosts_from([typed], [])


def test_a_view_has_one_host():
    with pytest.raises(UserError, match="but cam1 and cam2 both serve v01"):
        hosts_from(["cam2=v01"], [Host("cam1", ("v01",), 9094)])


@pytest.mark.parametrize("path", ["/health", "/v1/fleet/pull-messages", "/v1/fleet/activate-node"])
def test_the_gate_is_open_to(path):
    assert OPEN.fullmatch(path)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/control/start-run", "/v1/runtime/pull-task", "/docs", "/openapi.json", "/v1/fleet/../control/start-run",
        "/v1/fleet/x/../../control/start-run", "//v1/control/start-run", "/v1/fleet/", "/v1/fleet/a\n", "/health/x",
    ],
)  # fmt: skip
def test_the_gate_is_closed_to(path):
    assert not OPEN.fullmatch(path)


def test_how_long_a_host_is_gone_is_not_overstated():
    """Flower tells when it took note: up to a minute after the last heartbeat, or as the SuperNode ended."""
    then = datetime.now(UTC) - timedelta(seconds=30)
    assert _seen(Node(1, "cam1", True, then)) == "30 s ago"
    assert _seen(Node(1, "cam1", False, then)) == "at least 30 s ago"
    assert _seen(Node(1, "cam1", False, None)) == _seen(None) == "never"


@pytest.mark.parametrize(("seconds", "good", "side"), [(0, True, ""), (20, False, "ahead of"), (-90, False, "behind")])
def test_a_clock_is_compared_with_the_servers(seconds, good, side):
    now = datetime(2026, 1, 31, 12, tzinfo=UTC)
    found = _clock("Sat, 31 Jan 2026 12:00:00 GMT", now + timedelta(seconds=seconds))
    assert found.ok is good and side in found.says


def test_of_versions_that_counts_which_must_agree():
    assert _counts("python", "3.11.7") == _counts("python", "3.11.9") != _counts("python", "3.12.1")
    assert _counts("torch", "2.13.0+cpu") == _counts("torch", "2.13.0")
    assert _counts("flwr", "1.41.0") != _counts("flwr", "1.42.0")


def test_check_names_every_fault_of_a_host_that_reaches_nobody(kit, capsys):
    host = kit / "hosts" / "cam1"
    told = json.loads((host / "kit.json").read_text())
    told |= {"server": "127.0.0.1", "port": 1, "versions": {**told["versions"], "flwr": "1.30.0"}}
    (host / "kit.json").write_text(json.dumps(told))
    (host / "key").chmod(0o644)
    assert main(["fleet", "check", str(host), "data=tiny"]) == 1
    said = capsys.readouterr().out
    assert re.search(r"WRONG versions .*where the kit was made with 1.30.0", said)
    assert re.search(r"WRONG key .*chmod 600", said)
    assert re.search(r"WRONG port .*127.0.0.1:1 does not answer", said)
    assert re.search(r"\? +key +the server is not reached", said)
    assert re.search(r"ok +data v01 +24 clips", said)


def test_check_looks_for_prepared_clips_where_the_supernode_will(kit, tmp_path, capsys):
    host = kit / "hosts" / "cam1"
    with (host / "environment").open("a") as file:
        file.write(f"FEDKD_DATA={tmp_path}\nFEDKD_PREPARED={tmp_path}/prepared\n")
    settings = read_environment(host)
    assert _places(settings, ["data=tiny"]) == [f"data_dir='{tmp_path}'"]
    assert _places(settings, ["data=hmdb51"])[1] == f"data.prepared_dir='{tmp_path}/prepared'"
    assert main(["fleet", "check", str(host), "data=hmdb51"]) == 1
    assert re.search("WRONG data v01", capsys.readouterr().out)


@pytest.mark.parametrize(("left", "said"), [(None, "cannot be read .*copy it"), ("A=1\n", "lacks .*PORT; add it")])
def test_check_goes_on_without_an_environment(left, said, kit, capsys):
    for folder in (kit / "hosts" / "cam1", kit / "server"):
        (folder / "environment").unlink()
        if left is not None:
            (folder / "environment").write_text(left)
    assert main(["fleet", "check", str(kit / "hosts" / "cam1"), "data=tiny", "data.broken_view=v01"]) == 1
    found = capsys.readouterr().out
    assert re.search(f"WRONG environment +{said}", found)
    assert re.search("WRONG data v01 +.*cannot be read", found)
    assert main(["fleet", "check", str(kit / "server")]) == 1
    assert "WRONG environment" in capsys.readouterr().out


@pytest.mark.parametrize(("busy", "verdict"), [("", False), ("17", None)])
def test_a_host_that_is_silent_while_a_run_is_under_way_is_no_fault(busy, verdict, kit, monkeypatch):
    online = [Node(1, "cam1", True, datetime.now(UTC)), Node(2, "cam2", True, datetime.now(UTC))]
    monkeypatch.setattr("simulations.fleet.checks.server.nodes", lambda kit: online)
    monkeypatch.setattr("simulations.fleet.checks.server._hello", lambda kit: ({"2": ["v02", "v03"]}, busy))
    silent, answered = hosts(load_kit(kit / "server", "server"))
    assert silent.ok is verdict and answered.ok is True
    assert (f"run {busy} is under way" in silent.says) is bool(busy)


def test_a_supernode_that_was_just_started_is_waited_for(kit, monkeypatch):
    now, came = datetime.now(UTC), {"cam1": False}

    def listed(kit):
        nodes = [Node(1, "cam1", came["cam1"], now if came["cam1"] else None), Node(2, "cam2", True, now)]
        came["cam1"] = True
        return nodes

    monkeypatch.setattr("simulations.fleet.checks.server.nodes", listed)
    monkeypatch.setattr("simulations.fleet.checks.server._hello", lambda kit: ({"1": ["v01"], "2": ["v02", "v03"]}, ""))
    assert [found.ok for found in hosts(load_kit(kit / "server", "server"))] == [True, True]


def test_every_key_that_is_not_the_kits_is_named(kit, monkeypatch):
    monkeypatch.setattr("simulations.fleet.checks.server.ARRIVAL_SECONDS", 0)
    listed = [Node(n, name, False, None) for n, name in enumerate(("cam1", "cam2", None, None))]
    monkeypatch.setattr("simulations.fleet.checks.server.nodes", lambda kit: listed)
    strange = [found for found in hosts(load_kit(kit / "server", "server")) if "not in server/keys" in found.says]
    assert [found.what for found in strange] == ["2", "3"]


def test_without_a_port_nobody_knows_whether_a_supernode_runs(kit, monkeypatch):
    host = load_kit(kit / "hosts" / "cam1", "host")
    monkeypatch.setattr("simulations.fleet.checks.host.is_admitted", lambda kit, key: True)
    assert [(found.what, found.ok) for found in admission(host, {})] == [("key", True), ("SuperNode", False)]


def test_one_sentence_for_what_cannot_be(tmp_path, capsys):
    assert main(["fleet", "status", str(tmp_path)]) == 2
    assert main(["fleet", "init", str(tmp_path / "kit"), "--host", "cam1=v01"]) == 2
    assert main(["run", "data=tiny", "place=fleet", f"results_dir='{tmp_path}'"]) == 2
    found, named, asked = capsys.readouterr().err.splitlines()
    assert "expected a kit.json" in found
    assert "add --server HOST[:PORT]" in named
    assert "place=fleet needs place.kit=FOLDER" in asked


class Started(FleetCommand):
    """A SuperLink that takes a run, lists it as finished, and remembers what it was asked."""

    asked: ClassVar[list[tuple[object, ...]]] = []

    def __call__(self, *words: object) -> str:
        self.asked.append(words)
        if words[0] in ("run", "stop"):
            return '{"success": true, "run-id": "17"}'
        return '{"runs": [{"status": "finished:completed"}]}'


@pytest.fixture
def started(monkeypatch):
    """The place, with such a SuperLink; what that is asked."""
    monkeypatch.setattr(place, "FleetCommand", Started)
    monkeypatch.setattr(Started, "asked", [])
    return Started.asked


def test_a_run_that_cannot_be_followed_is_stopped_on_the_fleet(kit, started, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Started, "follow", interrupted)
    with pytest.raises(KeyboardInterrupt):
        place.run("data=tiny", tmp_path / "run", 3, kit=str(kit))
    assert started[-1][:2] == ("stop", "17")


def test_a_run_whose_id_was_not_heard_yet_is_stopped_all_the_same(kit, started, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    now, runs = datetime.now(UTC), []
    for number, (age, status) in enumerate([(-5, "pending"), (-5, "finished:failed"), (60, "running")]):
        when = now - timedelta(seconds=age)
        runs.append({"run-id": str(number), "pending-at": f"{when:%Y-%m-%d %H:%M:%SZ}", "status": status})
    monkeypatch.setattr(Started, "start", interrupted)
    monkeypatch.setattr(Started, "runs", lambda self: runs)
    with pytest.raises(KeyboardInterrupt):
        place.run("data=tiny", tmp_path / "run", 3, kit=str(kit))
    assert [words[:2] for words in started] == [("stop", "0")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_who_asks_a_second_time_does_not_break_off_the_stop(number, kit, started, tmp_path, monkeypatch):
    def asked(*_):
        signal.raise_signal(signal.SIGINT)

    def asked_again(self, run_id):
        signal.raise_signal(number)
        stop(self, run_id)

    before, stop = signal.signal(signal.SIGINT, signal.default_int_handler), Started.stop
    try:
        monkeypatch.setattr(Started, "follow", asked)
        monkeypatch.setattr(Started, "stop", asked_again)
        with pytest.raises(KeyboardInterrupt):
            place.run("data=tiny", tmp_path / "run", 3, kit=str(kit))
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert started[-1][:2] == ("stop", "17")


@pytest.mark.parametrize(("status", "remarked"), [("running", True), ("unknown", True), ("finished:completed", False)])
def test_a_run_that_was_not_stopped_is_named_with_the_command_that_stops_it(status, remarked, tmp_path, monkeypatch):
    def refuses(self, *words):
        listed = json.dumps({"success": True, "runs": [{"status": status}]})
        return listed if words[0] == "ls" else '{"success": false, "error-message": "Run 17 couldn\'t be stopped."}'

    monkeypatch.setattr(FleetCommand, "__call__", refuses)
    flower = FleetCommand(tmp_path / "my kit", tmp_path)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", Remark)
        flower.stop("17")
    assert [str(remark.message) for remark in said] == [
        "run 17 may go on on the fleet, since it was not stopped (Run 17 couldn't be stopped): "
        f"FLWR_HOME='{tmp_path / 'my kit' / 'flower-home'}' FLWR_DISABLE_UPDATE_CHECK=1 flwr stop 17 fleet"
    ] * remarked


def test_a_run_of_whoever_may_only_read_the_kit_goes_on(kit, started, tmp_path):
    (kit / "last_run.json").mkdir()  # a write that fails
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "summary.json").write_text('{"status": "finished"}')
    with pytest.warns(Remark, match=r"goes on, but fedkd fleet status will not find its record, .*/run, and may show"):
        place.run("data=tiny", tmp_path / "run", 3, kit=str(kit))
    assert "stop" not in [words[0] for words in started]


def test_a_fleet_whose_superlink_is_not_up_says_so(tmp_path, capsys):
    kit = tmp_path / "kit"
    list(init(kit, "localhost", ["cam1=v01"], link_port=free_port()))
    assert main(["run", "data=tiny", "place=fleet", f"place.kit='{kit}'", f"results_dir='{tmp_path}'"]) == 2
    assert main(["fleet", "status", str(kit)]) == 2
    taken, asked = capsys.readouterr().err.splitlines()
    assert taken.startswith("fedkd: the SuperLink took no run: ")
    assert "start server/superlink.sh" in asked


def test_what_became_of_a_run_is_told_by_who_knows_it_last(capsys: pytest.CaptureFixture[str]) -> None:
    def listed(status: str, details: str = "") -> str:
        return json.dumps({"success": True, "runs": [{"status": status, "status-details": details}]})

    judge({"status": "finished"}, listed("finished:completed"), "")
    refused = "ServerApp failed with exception: a run is at work in results/x; wait for it, or end it."
    with pytest.raises(UserError, match=r"^a run is at work in results/x; wait for it, or end it\.$"):
        judge({"status": "failed", "reason": "of last time"}, listed("finished:failed", refused), "")
    with pytest.raises(UserError, match=r"^of this time$"):
        judge({"status": "failed", "reason": "of this time"}, listed("finished:failed"), "")
    with pytest.raises(UserError, match=r"died, or the server's clock has jumped\.$"):
        judge({"status": "running"}, listed("finished:failed", "No heartbeat received from the task"), "")
    with pytest.raises(UserError, match="its status: unknown"):
        judge({}, "the SuperLink is gone", "all it said")
    assert "all it said" in capsys.readouterr().err


class Quiet(FleetCommand):
    """A SuperLink whose stream of words ends before the run does, so many times."""

    def __init__(self, times: int, ends: str) -> None:
        self.times, self.ends, self.asked = times, ends, 0

    def __call__(self, *arguments: object) -> str:
        if arguments[0] == "log":
            self.asked += 1
            return f"said {self.asked}"
        return json.dumps({"runs": [{"status": "running" if self.asked <= self.times else self.ends}]})


def test_a_run_is_followed_to_its_end_though_flower_stops_telling_of_it(tmp_path, monkeypatch):
    monkeypatch.setattr(place, "A_MINUTE", 0.1)
    record = Record(tmp_path / "run", "", {})
    assert Quiet(2, "finished:completed").follow("1", tmp_path / "run")[0] == "said 3"
    record.close()
    said, listed = Quiet(1000, "").follow("1", tmp_path / "run")
    assert said == "said 1" and not is_over(listed), "nobody is at work on it: the SuperLink has lost it"
