"""What the files of deploy/ say (deploy/compose.yaml, deploy/rayjob.yaml, deploy/Dockerfile): read, and never run here."""

import re
import subprocess
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def test_every_password_comes_from_the_environment_and_is_asked_for_in_its_example() -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    asked = set(re.findall(r"\$\{(\w+):\?\}", text))
    assert asked == set(re.findall(r"^(\w+)=$", (DEPLOY / "env.example").read_text(), re.MULTILINE))
    assert set(re.findall(r"\$\{(\w+)", text)) - asked == {"LAGLINE_TAG"}
    secret = re.compile(r"(?:PASSWORD|TOKEN|SECRET\w*|AUTH_STRING|ACCESS_KEY_ID)$")
    environments = [service.get("environment") or {} for service in COMPOSE["services"].values()]
    told = [(name, value) for one in environments for name, value in one.items() if secret.search(name)]
    assert len(told) > 20 and all("${" in value for _, value in told), told
    assert subprocess.run(["git", "check-ignore", "-q", "deploy/.env"], cwd=ROOT).returncode == 0


def test_nothing_is_reached_from_another_machine_and_ours_has_no_privileges() -> None:
    for name, service in COMPOSE["services"].items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        assert service["image"].startswith(("lagline:", "postgres:", "chrislusf/seaweedfs:")), name
        if service["image"].startswith("lagline:"):
            assert service["cap_drop"] == ["ALL"] and service["security_opt"] == ["no-new-privileges:true"], name
    (user,) = re.findall(r"^USER (\w+)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    assert user == "lagline"


def test_no_home_is_shared_by_two_containers() -> None:
    homes = [volume for service in COMPOSE["services"].values() for volume in service.get("volumes", []) if ":/state" in volume]
    assert len(homes) == len(set(homes)) == 2


def test_the_image_is_a_clean_checkout() -> None:
    """A tracked file that the image leaves out would be a deleted one, and a version that it makes one of changed code."""
    left_out = (ROOT / ".dockerignore").read_text().splitlines()[1:]
    tracked = subprocess.run(["git", "ls-files", "-i", "-c", *(f"-x{one}" for one in left_out)], cwd=ROOT, capture_output=True)
    assert tracked.stdout == b"" and tracked.returncode == 0


def test_versions_are_those_that_are_tried() -> None:
    lock = (ROOT / "constraints.txt").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    cluster = yaml.safe_load((DEPLOY / "rayjob.yaml").read_text())["spec"]["rayClusterSpec"]
    assert f"ray=={cluster['rayVersion']}\n" in lock
    pods = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    containers = [one for pod in pods for one in pod["template"]["spec"]["containers"]]
    assert {one["image"] for one in containers} == {f"registry.example/lagline:{project['version']}"}
    assert all(pod["template"]["spec"]["securityContext"]["runAsNonRoot"] for pod in pods)
    (asked,) = re.findall(r"-e '\.\[([^\]]*)\]'", (DEPLOY / "Dockerfile").read_text())
    assert set(asked.split(",")) <= set(project["optional-dependencies"])
