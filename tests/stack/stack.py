"""The stack of template.yaml, with a local AWS below it and a stand-in for Meta's Graph API beside it."""

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
from botocore.config import Config

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / "target" / "stack-venv"
WORK = ROOT / "target" / "stack"
BUILT = WORK / "sam" / "build"
STACK = "messenger-backend-on-this-machine"
REGION = "eu-central-1"

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
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > deadline:
            raise Failure(f"{what}: not within {seconds} s")
        time.sleep(0.2)


def request(url, method="GET", body=None, headers=None):
    """The status and the text of an HTTP answer; no proxy and no redirect comes between."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
    try:
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        connection.request(method, target, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


class Stack:
    """Everything that runs, from the build to the end."""

    def __init__(self):
        self.processes = []
        self.servers = {}
        self.outputs = {}
        shutil.rmtree(WORK, ignore_errors=True)
        (WORK / "tmp").mkdir(parents=True)
        # Nothing of the caller's own AWS settings: no call may ever reach a real account.
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        self.environment = kept | {
            "PATH": f"{TOOLS / 'sam' / 'bin'}:{TOOLS / 'aws' / 'bin'}:{os.environ['PATH']}",
            "TMPDIR": str(WORK / "tmp"),
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
            "SAM_CLI_TELEMETRY": "0",
            "__SAM_CLI_APP_DIR": str(WORK / "sam-cli"),
        }

    # ------------------------------------------------------------------ processes

    def run(self, name, *command, **environment):
        """Runs a command to its end; its output is shown only if it fails."""
        log = WORK / f"{name}.log"
        with log.open("w") as out:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=self.environment | environment,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self.processes.append(process)
            code = process.wait()
        if code != 0:
            raise Failure(f"{name} ended with {code}:\n{tail(log)}")
        return log.read_text()

    def start(self, name, *command, **environment):
        """Starts a server, in a session of its own so that its children end with it."""
        log = WORK / f"{name}.log"
        with log.open("w") as out:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=self.environment | environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.processes.append(process)
        self.servers[log] = process
        return log

    def ended(self):
        """Which servers have ended, though nobody stopped them, and what they said last."""
        return [
            f"{log.stem} ended with {process.returncode}:\n{tail(log)}"
            for log, process in self.servers.items()
            if process.poll() is not None
        ]

    def must_run(self):
        if self.ended():
            raise Failure("a server has ended")

    def stop(self):
        """Ends every process that still runs, with its children."""
        for process in reversed(self.processes):
            if process.poll() is not None:
                continue
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    # ------------------------------------------------------------------ what is built

    def build(self):
        """Builds the functions by `sam build`, for this machine's processor."""
        architecture = {"aarch64": "arm64"}.get(platform.machine(), platform.machine())
        self.parameters = [f"Architecture={architecture}"]
        quickly = {
            # This machine is the target, so cargo needs no cross-compiler.
            "CARGO_LAMBDA_COMPILER": "cargo",
            # Nothing here measures time, so the compiler need not take any to make the functions fast.
            "CARGO_PROFILE_RELEASE_CODEGEN_UNITS": "16",
            "CARGO_PROFILE_RELEASE_LTO": "off",
            "CARGO_PROFILE_RELEASE_OPT_LEVEL": "0",
        }
        # SAM builds one function after another. At once they are built sooner, and the simulator with them.
        self.run("cargo-lambda-build", "cargo", "lambda", "build", "--release", "--locked", **quickly)
        self.run(
            "sam-build",
            *("sam", "build"),
            *("--config-file", str(ROOT / "samconfig.toml")),
            *("--template-file", str(ROOT / "template.yaml")),
            *("--build-dir", str(BUILT)),
            *("--parameter-overrides", *self.parameters),
            **quickly,
        )

    # ------------------------------------------------------------------ what it stands on

    def start_meta(self):
        """Starts the stand-in for Meta."""
        metadata = self.run("cargo-metadata", "cargo", "metadata", "--no-deps", "--format-version=1")
        target = json.loads(metadata.splitlines()[-1])["target_directory"]
        log = self.start(
            "simulator",
            str(Path(target) / "lambda" / "simulator" / "bootstrap"),
            "serve",
            *("--port", "0"),
            *("--app-secret", APP_SECRET),
            *("--verify-token", VERIFY_TOKEN),
            *("--page", PAGE),
        )

        def addresses():
            self.must_run()
            found = dict(re.findall(r"^ +(\w+)=(http\S+)$", log.read_text(), re.MULTILINE))
            return found if {"AWS_ENDPOINT_URL", "GRAPH_BASE_URL"} <= found.keys() else None

        found = until("the simulator's addresses", addresses, 30)
        self.simulator, self.graph = found["AWS_ENDPOINT_URL"], found["GRAPH_BASE_URL"]

    def start_aws(self):
        """Starts the local AWS. It lets nobody do what no policy allows, and keeps everything in memory."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.aws = f"http://127.0.0.1:{port}"
        self.environment["AWS_ENDPOINT_URL"] = self.aws
        self.start(
            "aws",
            "ministack",
            AUTH="true",
            BIND_HOST="127.0.0.1",
            GATEWAY_PORT=str(port),
            MINISTACK_REGION=REGION,
            # Servers that no function needs, on ports of their own.
            IOT_MTLS_ENABLED="0",
            SFTP_ENABLED="0",
        )

        def healthy():
            self.must_run()
            try:
                return request(f"{self.aws}/_ministack/health")[0] == 200
            except OSError:
                return False

        until("the local AWS", healthy, 60)

    def client(self, service):
        """A client of the local AWS, whatever the caller's own settings say."""
        return boto3.client(
            service,
            region_name=REGION,
            endpoint_url=self.aws,
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(retries={"total_max_attempts": 2}, read_timeout=90, proxies={}),
        )

    # ------------------------------------------------------------------ the deployment

    def deploy(self):
        """Deploys by `sam deploy`, as the README says, but for what this machine needs."""
        self.run(
            "sam-deploy",
            *("sam", "deploy"),
            *("--config-file", str(ROOT / "samconfig.toml")),
            *("--template-file", str(BUILT / "template.yaml")),
            *("--stack-name", STACK),
            "--no-progressbar",
            *("--parameter-overrides", *self.parameters, f"GraphBaseUrl={self.graph}"),
            # The level that logs most, for the check of what is logged.
            "LogLevel=DEBUG",
            # So that the schedule may write to somebody 35 s after the bot did, and not 90 s.
            "SafetyMarginSeconds=5",
        )
        cloudformation = self.client("cloudformation")
        stack = cloudformation.describe_stacks(StackName=STACK)["Stacks"][0]
        self.outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
        self.callback = self.register_routes(cloudformation)
        self.mend_policies()
        self.fill_in_secret()

    def register_routes(self, cloudformation):
        """The callback URL on this machine; the local AWS ignores the definition that SAM puts the routes in."""
        template = cloudformation.get_template(StackName=STACK, TemplateStage="Processed")
        body = template["TemplateBody"]
        resources = (json.loads(body) if isinstance(body, str) else body)["Resources"]
        ((name, api),) = [item for item in resources.items() if item[1]["Type"] == "AWS::ApiGatewayV2::Api"]

        def physical(logical):
            found = cloudformation.describe_stack_resource(StackName=STACK, LogicalResourceId=logical)
            return found["StackResourceDetail"]["PhysicalResourceId"]

        api_id, gateway, functions = physical(name), self.client("apigatewayv2"), self.client("lambda")
        if not gateway.get_routes(ApiId=api_id)["Items"]:
            for path, methods in api["Properties"]["Body"]["paths"].items():
                for method, operation in methods.items():
                    how = operation["x-amazon-apigateway-integration"]
                    logical = re.search(r"\$\{(\w+)\.Arn\}", json.dumps(how["uri"]))[1]
                    function = functions.get_function(FunctionName=physical(logical))
                    integration = gateway.create_integration(
                        ApiId=api_id,
                        IntegrationType=how["type"].upper(),
                        IntegrationMethod=how["httpMethod"],
                        IntegrationUri=function["Configuration"]["FunctionArn"],
                        PayloadFormatVersion=how["payloadFormatVersion"],
                    )
                    gateway.create_route(
                        ApiId=api_id,
                        RouteKey=f"{method.upper()} {path}",
                        Target=f"integrations/{integration['IntegrationId']}",
                    )
        return f"{self.aws}/_aws/execute-api/{api_id}/$default/webhook"

    def mend_policies(self):
        """Writes the policies so that they mean here what they mean on AWS.

        There a reference to a secret is its ARN, here its bare name; and there a batch is sent by the right to
        send a message, here by a right of its own.
        """
        name, iam = self.outputs["SecretArn"], self.client("iam")
        arn = self.client("secretsmanager").describe_secret(SecretId=name)["ARN"]
        for role in iam.list_roles()["Roles"]:
            role_name = role["RoleName"]
            for policy_name in iam.list_role_policies(RoleName=role_name)["PolicyNames"]:
                policy = iam.get_role_policy(RoleName=role_name, PolicyName=policy_name)["PolicyDocument"]
                for statement in policy["Statement"]:
                    if statement["Resource"] == name:
                        statement["Resource"] = arn
                    if statement["Action"] == "sqs:SendMessage":
                        statement["Action"] = ["sqs:SendMessage", "sqs:SendMessageBatch"]
                iam.put_role_policy(RoleName=role_name, PolicyName=policy_name, PolicyDocument=json.dumps(policy))

    def fill_in_secret(self):
        """Puts the real values into the secret, as the owner does after the first deployment."""
        value = {
            "app_id": APP_ID,
            "app_secret": APP_SECRET,
            "verify_token": VERIFY_TOKEN,
            "pages": {PAGE: {"access_token": PAGE_TOKEN}},
        }
        vault = self.client("secretsmanager")
        vault.put_secret_value(SecretId=self.outputs["SecretArn"], SecretString=json.dumps(value))

    # ------------------------------------------------------------------ what can be seen from outside

    def graph_requests(self):
        """Every request that reached the Graph API."""
        return json.loads(request(f"{self.simulator}/_simulator/state")[1])["graph_requests"]

    def items(self):
        """Everything in the table."""
        pages = self.client("dynamodb").get_paginator("scan").paginate(TableName=self.outputs["TableName"])
        return [item for page in pages for item in page["Items"]]

    def log_lines(self):
        """Everything that the functions logged."""
        logs = self.client("logs")
        groups = [group["logGroupName"] for group in logs.describe_log_groups()["logGroups"]]
        return [
            event["message"]
            for group in groups
            for page in logs.get_paginator("filter_log_events").paginate(logGroupName=group)
            for event in page["events"]
        ]


def tail(log, lines=40):
    """The end of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
