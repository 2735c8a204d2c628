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

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / "target" / "venv"
WORK = ROOT / "target" / "stack"
BUILT = WORK / "build"
STACK = "messenger-backend-on-this-machine"
REGION = "eu-central-1"

PAGE = "100000000000001"
APP_ID = "300000000000003"
APP_SECRET = secrets.token_hex(16)
VERIFY_TOKEN = secrets.token_hex(16)


def token_of(page):
    """The token that the simulator gives a Page."""
    return f"sample-token-of-{page}"


PAGE_TOKEN = token_of(PAGE)


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
        connection.request("GET" if body is None else "POST", f"{parts.path}?{parts.query}", body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def isolate(work):
    """Leaves nothing of the caller's own AWS settings: no call may ever reach a real account."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ |= {
        "PATH": f"{VENV / 'sam' / 'bin'}:{os.environ['PATH']}",
        "TMPDIR": str(work / "tmp"),
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": REGION,
        "SAM_CLI_TELEMETRY": "0",
        "__SAM_CLI_APP_DIR": str(work / "sam-cli"),
    }


class Stack:
    """Everything that runs, from the build to the end."""

    def __init__(self, work=WORK):
        self.processes = {}
        self.work = work
        shutil.rmtree(work, ignore_errors=True)
        (work / "tmp").mkdir(parents=True)
        isolate(work)
        architecture = {"aarch64": "arm64"}.get(platform.machine(), platform.machine())
        self.values = {"Architecture": architecture}
        self.deployments = 0
        self.secret = {"app_id": APP_ID, "app_secret": APP_SECRET, "verify_token": VERIFY_TOKEN}
        self.secret["pages"] = {PAGE: {"access_token": PAGE_TOKEN}}

    # ------------------------------------------------------------------ processes

    def start(self, name, *command, **environment):
        """Starts a process in a session of its own, so that its children end with it; returns its log."""
        log = self.work / f"{name}.log"
        with log.open("w") as out:
            self.processes[log] = subprocess.Popen(
                [str(word) for word in command],
                cwd=ROOT,
                env=os.environ | environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return log

    def run(self, name, *command, **environment):
        """Runs a command to its end and returns what it wrote."""
        log = self.start(name, *command, **environment)
        if self.processes[log].wait() != 0:
            raise Failure(f"{name} failed")
        del self.processes[log]
        return log.read_text()

    def ended(self):
        """What has ended that should not have, and its last words."""
        return [
            f"{log.name} ended with {process.returncode}:\n" + "\n".join(log.read_text().splitlines()[-40:])
            for log, process in self.processes.items()
            if process.poll() is not None
        ]

    def stop(self):
        """Ends every process that still runs, with its children."""
        for process in self.processes.values():
            for how in (signal.SIGTERM, signal.SIGKILL):
                try:
                    os.killpg(process.pid, how)
                    process.wait(timeout=10)
                except (ProcessLookupError, subprocess.TimeoutExpired):
                    pass

    # ------------------------------------------------------------------ the deployment

    def build(self):
        """Builds by `sam build`, for this machine's processor."""
        # With the profile of `cargo run`, whose build of the dependencies it then shares: nothing here measures speed.
        quickly = {"SAM_BUILD_MODE": "debug", "CARGO_LAMBDA_COMPILER": "cargo"}
        # SAM builds one function after another. At once they are built sooner, and the simulator with them.
        self.run("cargo-lambda-build", "cargo", "lambda", "build", "--locked", **quickly)
        files = ("--config-file", ROOT / "samconfig.toml", "--template-file", ROOT / "template.yaml")
        overrides = ("--parameter-overrides", *(f"{name}={value}" for name, value in self.values.items()))
        self.run("sam-build", "sam", "build", *files, "--build-dir", BUILT, *overrides, **quickly)
        # What the shipped bot says is its author's affair; what is checked here is what the sample bot says.
        shutil.copy(self.built("booking-processor"), BUILT / "EventProcessorFunction" / "bootstrap")

    def built(self, binary):
        """Where cargo-lambda puts a binary."""
        metadata = json.loads(self.run("metadata", "cargo", "metadata", "--no-deps", "--format-version=1"))
        return Path(metadata["target_directory"]) / "lambda" / binary / "bootstrap"

    def start_aws(self):
        """Starts the local AWS. It allows only what a policy allows, and keeps everything in memory."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = str(probe.getsockname()[1])
        self.aws = os.environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{port}"
        values = {"AUTH": "true", "BIND_HOST": "127.0.0.1", "GATEWAY_PORT": port, "MINISTACK_REGION": REGION}
        # Servers that no function needs, on ports of their own.
        unneeded = {"IOT_MTLS_ENABLED": "0", "SFTP_ENABLED": "0"}
        self.start("aws", VENV / "aws" / "bin" / "ministack", **values, **unneeded)

        def healthy():
            try:
                return self.ended() or request(f"{self.aws}/_ministack/health")[0] == 200
            except OSError:
                return False

        until("the local AWS", healthy, 60)

    def start_meta(self, app_secret=APP_SECRET, pages=(PAGE,)):
        """Starts the stand-in for Meta."""
        simulator = self.built("simulator")
        values = ("--app-secret", app_secret, "--verify-token", VERIFY_TOKEN)
        values += tuple(word for page in pages for word in ("--page", page))
        log = self.start("meta", simulator, "serve", "--port", "0", *values)
        until("Meta's stand-in", lambda: self.ended() or "GRAPH_BASE_URL=" in log.read_text(), 60)
        addresses = dict(re.findall(r"^ +(\w+)=(http\S+)$", log.read_text(), re.MULTILINE))
        self.meta, self.graph = addresses["AWS_ENDPOINT_URL"], addresses["GRAPH_BASE_URL"]

    def deploy(self):
        """Deploys by `sam deploy` and fills the secret, as the README says."""
        # DEBUG logs most, for the check of what is logged. The margin lets the schedule write to somebody 35 s after
        # the bot did, and not 90 s.
        self.update(GraphBaseUrl=self.graph, LogLevel="DEBUG", SafetyMarginSeconds=5)
        self.fill_secret(self.secret)

    def template(self):
        """What `sam build` made of template.yaml."""
        return yaml.safe_load((BUILT / "template.yaml").read_text())

    def update(self, template=None, **changed):
        """Deploys by `sam deploy`, with these parameters beside those of before."""
        self.values |= changed
        template = adapted(template or self.template())
        (BUILT / "adapted.json").write_text(json.dumps(template))
        files = ("--config-file", ROOT / "samconfig.toml", "--template-file", BUILT / "adapted.json")
        overrides = ("--parameter-overrides", *(f"{name}={value}" for name, value in self.values.items()))
        self.deployments += 1
        log = f"sam-deploy-{self.deployments}"
        self.run(log, "sam", "deploy", *files, "--stack-name", STACK, "--no-progressbar", *overrides)

        stack = boto3.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"][0]
        self.outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
        self.callback = self.local(self.outputs["CallbackUrl"]) + "/webhook"
        self.api = self.local(self.outputs["ApiUrl"])

    def local(self, url):
        """Where the local AWS serves an API."""
        api = re.search(r"//(\w+)", url)[1]
        return f"{self.aws}/_aws/execute-api/{api}/$default"

    def fill_secret(self, secret):
        """Writes the secret; returns its version."""
        secrets, arn = boto3.client("secretsmanager"), self.outputs["SecretArn"]
        return secrets.put_secret_value(SecretId=arn, SecretString=json.dumps(secret))["VersionId"]

    # ------------------------------------------------------------------ what can be seen from outside

    def graph_requests(self):
        """Every request that reached the Graph API."""
        return json.loads(request(f"{self.meta}/_simulator/state")[1])["graph_requests"]

    def items(self, table=None):
        """Everything in the table."""
        table = table or self.outputs["TableName"]
        pages = boto3.client("dynamodb").get_paginator("scan").paginate(TableName=table)
        return [item for page in pages for item in page["Items"]]

    def resources(self):
        """The stack's resources: the type and the physical id of each, by its logical id."""
        pages = boto3.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=STACK)
        listed = [resource for page in pages for resource in page["StackResourceSummaries"]]
        return {one["LogicalResourceId"]: (one["ResourceType"], one["PhysicalResourceId"]) for one in listed}

    def log_lines(self):
        """Everything that the functions logged."""
        logs = boto3.client("logs")
        groups = [group["logGroupName"] for group in logs.describe_log_groups()["logGroups"]]
        pages = logs.get_paginator("filter_log_events").paginate
        return [event["message"] for group in groups for page in pages(logGroupName=group) for event in page["events"]]


def adapted(template):
    """The built template, changed where the local AWS differs from AWS."""
    resources = template["Resources"]
    # There are no saved queries here.
    resources.pop("LifeOfAMessage", None)
    functions = [(name, it) for name, it in resources.items() if it["Type"] == "AWS::Serverless::Function"]
    for name, function in functions:
        properties = function["Properties"]
        # There is no CodeDeploy here, so the alias moves at once.
        properties.pop("DeploymentPreference", None)
        # A reference to a secret is its bare name here, which does not fit in a policy, and not its ARN. And a batch
        # is sent by a right of its own, not by the right to send a message.
        policies = json.dumps(properties.get("Policies", []))
        policies = policies.replace('{"Ref": "Secret"}', '{"Fn::GetAtt": ["Secret", "Id"]}')
        properties["Policies"] = json.loads(policies.replace('"sqs:SendMessage"', '"sqs:SendMessage*"'))
        # The definition of the API, into which SAM writes the routes, is ignored here; routes of their own are not.
        for event, source in properties.get("Events", {}).items():
            if source["Type"] == "HttpApi":
                api, route = source["Properties"]["ApiId"], f"{name}{event}"
                integration = {
                    "ApiId": api,
                    "IntegrationType": "AWS_PROXY",
                    "IntegrationUri": {"Fn::GetAtt": [name, "Arn"]},
                    "PayloadFormatVersion": "2.0",
                }
                target = {
                    "ApiId": api,
                    "RouteKey": "{Method} {Path}".format(**source["Properties"]),
                    "Target": {"Fn::Sub": f"integrations/${{{route}Integration}}"},
                }
                resources[f"{route}Integration"] = {"Type": "AWS::ApiGatewayV2::Integration", "Properties": integration}
                resources[f"{route}Route"] = {"Type": "AWS::ApiGatewayV2::Route", "Properties": target}
    return template
