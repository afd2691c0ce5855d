"""The two servers: S3 (SeaweedFS) at full speed, and a slow one over HTTP (nginx)."""
import json, os, signal, subprocess, sys, time, urllib.error, urllib.request

import boto3
import botocore.exceptions
from botocore.config import Config

BUCKET = "bench"
KEY, SECRET, REGION = "benchkey", "benchsecret", "us-east-1"
# What a bucket on another continent, or a busy one, is like.
FIRST_BYTE_SECONDS, CONNECTION_BYTES_PER_SECOND = 0.05, 25_000_000
START_SECONDS = 60
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(process):
    """Of a process and its children, dead or alive."""
    with open(f"/proc/{process}/stat") as file:
        total = sum(map(int, file.read().rsplit(")", 1)[1].split()[11:15])) / TICKS
    with open(f"/proc/{process}/task/{process}/children") as file:
        return total + sum(cpu_seconds(int(child)) for child in file.read().split())


class Server:
    """A process that answers at `url`, from `start` until `stop`."""

    def __init__(self, folder, url, command):
        self.folder, self.url, self.command, self.process = folder, url, command, None
        folder.mkdir(parents=True, exist_ok=True)

    def is_up(self):
        try:
            with urllib.request.urlopen(self.url + self.probe, timeout=5):
                return True
        except (urllib.error.URLError, OSError):
            return False

    def start(self):
        if self.is_up():
            sys.exit(f"something answers at {self.url} already: stop it, or choose --port")
        with open(self.folder / "log", "wb") as log:
            self.process = subprocess.Popen(self.command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + START_SECONDS
        while not self.is_up():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                sys.exit(f"{self.command[0]} does not start: see {self.folder / 'log'}")
            time.sleep(0.2)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def cpu_seconds(self):
        return cpu_seconds(self.process.pid) if self.process and self.process.poll() is None else 0.0


class S3(Server):
    """SeaweedFS with one bucket, which anyone may read. Its data stays between runs."""

    probe = f"/{BUCKET}?list-type=2&max-keys=1"

    def __init__(self, place):
        folder, port = place.work / "s3", place.port
        may_all = {"name": "bench", "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": ["Admin", "Read", "List", "Tagging", "Write"]}
        anyone = {"name": "anonymous", "actions": [f"Read:{BUCKET}", f"List:{BUCKET}"]}
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "s3.json").write_text(json.dumps({"identities": [may_all, anyone]}))
        ports = {"s3": port, "master": port + 1000, "volume": port + 1010, "filer": port + 1020, "admin": port + 1030}
        super().__init__(folder, f"http://127.0.0.1:{port}", [
            str(place.program("weed")), "mini", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false",
            "-admin.ui=false", "-webdav=false", "-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.iam=false", f"-bucket={BUCKET}",
            f"-s3.config={folder / 's3.json'}", *(f"-{name}.port={number}" for name, number in ports.items())])

    def client(self):
        return boto3.client("s3", endpoint_url=self.url, aws_access_key_id=KEY, aws_secret_access_key=SECRET, region_name=REGION,
                            config=Config(s3={"addressing_style": "path"}))

    def is_up(self):
        """Its S3 side answers before its volumes are there: it is up when it gives back what it has taken."""
        if not super().is_up():
            return False
        client = self.client()
        try:
            client.put_object(Bucket=BUCKET, Key="probe", Body=b"probe")
            return client.get_object(Bucket=BUCKET, Key="probe")["Body"].read() == b"probe"
        except botocore.exceptions.ClientError:
            return False

    def see_to(self, sets):
        """Uploads the sets that are not there as they are here: the manifest, which goes up last, tells."""
        client = self.client()
        for one in sets:
            manifest = one.folder / "manifest.json"
            pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{one.name}/")
            there = [found["Key"] for page in pages for found in page.get("Contents", [])]
            key = f"{one.name}/{manifest.name}"
            if key in there and client.get_object(Bucket=BUCKET, Key=key)["Body"].read() == manifest.read_bytes():
                continue
            print(f"uploads {one.name} ...", file=sys.stderr)
            for old in there:
                client.delete_object(Bucket=BUCKET, Key=old)
            for key_of_archive, path in zip(one.keys(), one.paths()):
                client.upload_file(str(path), BUCKET, key_of_archive)
            client.upload_file(str(manifest), BUCKET, key)

    def environment(self):
        """How commands find the server: AWS's own variables, which tarsql and boto3 read alike."""
        return {"AWS_ENDPOINT_URL": self.url, "AWS_ALLOW_HTTP": "true", "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION,
                "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}


class Slow(Server):
    """nginx over the folder of the data, with latency before each answer and a limit of each connection's speed.

    `limit_rate` would not do: it counts per request, and gives each the bytes of a whole second at once, so that ranges of
    less than 25 MB would not be slowed at all. The stream proxy in front counts per connection.
    """

    probe = "/probe"

    def __init__(self, place):
        folder, port = place.work / "slow", place.port + 1
        temporary = "\n".join(f"    {kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        user = "user root;" if os.geteuid() == 0 else ""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "nginx.conf").write_text(f"""\
load_module /usr/lib/nginx/modules/ngx_http_echo_module.so;
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
{user} daemon off; worker_processes 1; pid {folder}/pid; error_log stderr;
events {{ worker_connections 1024; }}
stream {{
    server {{
        listen 127.0.0.1:{port};
        proxy_pass unix:{folder}/socket;
        proxy_download_rate {CONNECTION_BYTES_PER_SECOND};
        proxy_buffer_size 1m;
    }}
}}
http {{
    access_log off; sendfile on; keepalive_requests 1000000; default_type application/octet-stream;
{temporary}
    server {{
        listen unix:{folder}/socket sndbuf=1m;
        location = /probe {{ return 204; }}
        location / {{ echo_sleep {FIRST_BYTE_SECONDS}; echo_exec @file; }}
        location @file {{ root {place.data}; }}
    }}
}}
""")
        super().__init__(folder, f"http://127.0.0.1:{port}", [str(place.program("nginx")), "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"])

    def start(self):
        (self.folder / "socket").unlink(missing_ok=True)
        super().start()
