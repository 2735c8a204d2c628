"""The stack of template.yaml on a local AWS, with a stand-in for Meta beside it."""

import http.client
import json
import os
import platform
import re
import secrets
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import yaml
from botocore.config import Config

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / "target" / "venv"
WORK = ROOT / "target" / "stack"
BUILT = WORK / "sam" / "build"
STACK = "messenger-backend-on-this-machine"

PAGE = "100000000000001"
APP_ID = "300000000000003"
APP_SECRET = secrets.token_hex(16)
VERIFY_TOKEN = secrets.token_hex(16)
# The simulator gives a Page this token.
PAGE_TOKEN = f"sample-token-of-{PAGE}"


class Failure(Exception):
    """Something is not as it must be; the text says what."""


def until(what, look, seconds):
    """Looks again and again until there is something to see, and returns it."""
    deadline = time.monotonic() + seconds
    while not (seen := look()):
        if time.monotonic() > deadline:
            raise Failure(f"{what}: not within {seconds} s")
        time.sleep(0.2)
    return seen


def request(url, body=None, headers=None):
    """The status and the text of an HTTP answer, to a POST if there is a body; no proxy comes between."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
    try:
        method = "GET" if body is None else "POST"
        connection.request(method, f"{parts.path}?{parts.query}", body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


class Stack:
    """Everything that runs, from the build to the end."""

    def __init__(self):
        self.servers = {}
        self.outputs = {}
        shutil.rmtree(WORK, ignore_errors=True)
        (WORK / "tmp").mkdir(parents=True)
        # Nothing of the caller's own AWS settings: no call may ever reach a real account.
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | {
            "PATH": f"{VENV / 'sam' / 'bin'}:{os.environ['PATH']}",
            "TMPDIR": str(WORK / "tmp"),
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "eu-central-1",
            "SAM_CLI_TELEMETRY": "0",
            "__SAM_CLI_APP_DIR": str(WORK / "sam-cli"),
        }

    # ------------------------------------------------------------------ processes

    def start(self, name, *command, **environment):
        """Starts a process in a session of its own, so that its children end with it."""
        log = WORK / f"{name}.log"
        self.servers[log] = subprocess.Popen(
            [str(word) for word in command],
            cwd=ROOT,
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            stdout=log.open("w"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        return log

    def run(self, name, *command, **environment):
        """Runs a command to its end; its output is shown only if it fails."""
        log = self.start(name, *command, **environment)
        if self.servers[log].wait() != 0:
            raise Failure(f"{name} failed")
        del self.servers[log]
        return log.read_text()

    def ended(self):
        """What has ended that should not have, and its last words."""
        return [
            f"{log.name} ended with {process.returncode}:\n" + "\n".join(log.read_text().splitlines()[-40:])
            for log, process in self.servers.items()
            if process.poll() is not None
        ]

    def stop(self):
        """Ends every process that still runs, with its children."""
        for process in self.servers.values():
            for how in (signal.SIGTERM, signal.SIGKILL):
                try:
                    os.killpg(process.pid, how)
                    process.wait(timeout=10)
                except (ProcessLookupError, subprocess.TimeoutExpired):
                    pass

    def until_served(self, what, look):
        """Waits for a server's first sign of life."""
        return until(what, lambda: self.ended() or look(), 60)

    # ------------------------------------------------------------------ the deployment

    def build(self):
        """Builds by `sam build`, for this machine's processor."""
        # With the profile of the tests, whose build of the dependencies it then shares: nothing here measures speed.
        quickly = {"SAM_BUILD_MODE": "debug", "CARGO_LAMBDA_COMPILER": "cargo"}
        # SAM builds one function after another. At once they are built sooner, and the simulator with them.
        self.run("cargo-lambda-build", "cargo", "lambda", "build", "--locked", **quickly)
        architecture = {"aarch64": "arm64"}.get(platform.machine(), platform.machine())
        self.parameters = [f"Architecture={architecture}"]
        self.run(
            "sam-build",
            *("sam", "build"),
            *("--config-file", ROOT / "samconfig.toml"),
            *("--template-file", ROOT / "template.yaml"),
            *("--build-dir", BUILT),
            *("--parameter-overrides", *self.parameters),
            **quickly,
        )

    def start_aws(self):
        """Starts the local AWS. It allows only what a policy allows, and keeps everything in memory."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.aws = self.environment["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{port}"
        self.start(
            "aws",
            VENV / "aws" / "bin" / "ministack",
            AUTH="true",
            BIND_HOST="127.0.0.1",
            GATEWAY_PORT=str(port),
            MINISTACK_REGION=self.environment["AWS_DEFAULT_REGION"],
            # Servers that no function needs, on ports of their own.
            IOT_MTLS_ENABLED="0",
            SFTP_ENABLED="0",
        )

        def healthy():
            try:
                return request(f"{self.aws}/_ministack/health")[0] == 200
            except OSError:
                return False

        self.until_served("the local AWS", healthy)

    def start_meta(self):
        """Starts the stand-in for Meta."""
        metadata = json.loads(self.run("metadata", "cargo", "metadata", "--no-deps", "--format-version=1"))
        simulator = Path(metadata["target_directory"]) / "lambda" / "simulator" / "bootstrap"
        values = ("--app-secret", APP_SECRET, "--verify-token", VERIFY_TOKEN, "--page", PAGE)
        log = self.start("meta", simulator, "serve", "--port", "0", *values)
        self.until_served("Meta's stand-in", lambda: "GRAPH_BASE_URL=" in log.read_text())
        self.meta, self.graph = (
            re.search(rf"^ *{name}=(http\S+)$", log.read_text(), re.MULTILINE)[1]
            for name in ("AWS_ENDPOINT_URL", "GRAPH_BASE_URL")
        )

    def deploy(self):
        """Deploys by `sam deploy` and fills the secret, as the README says."""
        template = adapted(yaml.safe_load((BUILT / "template.yaml").read_text()))
        (BUILT / "adapted.yaml").write_text(yaml.safe_dump(template))
        self.run(
            "sam-deploy",
            *("sam", "deploy"),
            *("--config-file", ROOT / "samconfig.toml"),
            *("--template-file", BUILT / "adapted.yaml"),
            *("--stack-name", STACK),
            "--no-progressbar",
            *("--parameter-overrides", *self.parameters, f"GraphBaseUrl={self.graph}"),
            # The level that logs most, for the check of what is logged.
            "LogLevel=DEBUG",
            # So that the schedule may write to somebody 35 s after the bot did, and not 90 s.
            "SafetyMarginSeconds=5",
        )
        stack = self.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"][0]
        self.outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
        api = re.search(r"//(\w+)\.", self.outputs["CallbackUrl"])[1]
        self.callback = f"{self.aws}/_aws/execute-api/{api}/$default/webhook"
        secret = {
            "app_id": APP_ID,
            "app_secret": APP_SECRET,
            "verify_token": VERIFY_TOKEN,
            "pages": {PAGE: {"access_token": PAGE_TOKEN}},
        }
        self.client("secretsmanager").put_secret_value(
            SecretId=self.outputs["SecretArn"], SecretString=json.dumps(secret)
        )

    # ------------------------------------------------------------------ what can be seen from outside

    def client(self, service):
        """A client of the local AWS, whatever the caller's own settings say."""
        return boto3.client(
            service,
            region_name=self.environment["AWS_DEFAULT_REGION"],
            endpoint_url=self.aws,
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(retries={"total_max_attempts": 2}, read_timeout=90, proxies={}),
        )

    def graph_requests(self):
        """Every request that reached the Graph API."""
        return json.loads(request(f"{self.meta}/_simulator/state")[1])["graph_requests"]

    def items(self):
        """Everything in the table."""
        pages = self.client("dynamodb").get_paginator("scan").paginate(TableName=self.outputs["TableName"])
        return [item for page in pages for item in page["Items"]]

    def log_lines(self):
        """Everything that the functions logged."""
        logs = self.client("logs")
        return [
            event["message"]
            for group in logs.describe_log_groups()["logGroups"]
            for page in logs.get_paginator("filter_log_events").paginate(logGroupName=group["logGroupName"])
            for event in page["events"]
        ]


def adapted(template):
    """The built template with what the local AWS does otherwise than AWS made good."""
    routes = {}
    for name, function in template["Resources"].items():
        if function["Type"] != "AWS::Serverless::Function":
            continue
        properties = function["Properties"]
        # A reference to a secret is its bare name here, and not its ARN, so a policy would not fit. And a batch is
        # sent by a right of its own, and not by the right to send a message.
        policies = json.dumps(properties.get("Policies", []))
        policies = policies.replace('{"Ref": "Secret"}', '{"Fn::GetAtt": ["Secret", "Id"]}')
        properties["Policies"] = json.loads(policies.replace('"sqs:SendMessage"', '"sqs:SendMessage*"'))
        # The API's definition, into which SAM writes the routes, is ignored here. As resources they are not.
        for event, source in properties.get("Events", {}).items():
            if source["Type"] != "HttpApi":
                continue
            api, integration = source["Properties"]["ApiId"], f"{name}{event}Integration"
            routes[integration] = {
                "Type": "AWS::ApiGatewayV2::Integration",
                "Properties": {
                    "ApiId": api,
                    "IntegrationType": "AWS_PROXY",
                    "IntegrationUri": {"Fn::GetAtt": [name, "Arn"]},
                    "PayloadFormatVersion": "2.0",
                },
            }
            routes[f"{name}{event}Route"] = {
                "Type": "AWS::ApiGatewayV2::Route",
                "Properties": {
                    "ApiId": api,
                    "RouteKey": f"{source['Properties']['Method']} {source['Properties']['Path']}",
                    "Target": {"Fn::Sub": f"integrations/${{{integration}}}"},
                },
            }
    template["Resources"] |= routes
    return template
