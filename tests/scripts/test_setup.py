"""The state machine of scripts/setup, with a stand-in for uv: nothing is downloaded."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
UV = """#!/usr/bin/env bash
echo "$@" >>"$UV_LOG"
case $1 in
    venv) for folder; do :; done; mkdir -p "$folder/bin"; touch "$folder/pyvenv.cfg"
          ln -sf "$REAL_PYTHON" "$folder/bin/python" ;;
    pip) sleep "${UV_SLEEP:-0}"; [ -z "${UV_FAILS:-}" ] ;;
    python) exit 1 ;;
esac
"""


class Project:
    """A copy of the scripts in a folder with a blank in its name, and a PATH with one Python and the stand-in."""

    def __init__(self, folder: Path):
        self.root = folder / "a project"
        shutil.copytree(SCRIPTS, self.root / "scripts", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
        self.tools = folder / "tools"
        self.tools.mkdir()
        (self.tools / "uv").write_text(UV)
        (self.tools / "uv").chmod(0o755)
        self.log = folder / "log"
        self.offer(f'exec "{sys.executable}" "$@"')

    def offer(self, body: str) -> None:
        """Puts a script before every real Python on PATH."""
        for name in ("python", "python3", "python3.11", "python3.12", "python3.13"):
            (self.tools / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
            (self.tools / name).chmod(0o755)

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        path = f"{self.tools}{os.pathsep}{os.environ['PATH']}"
        env = {**os.environ, "PATH": path, "UV_LOG": str(self.log), "REAL_PYTHON": sys.executable, **variables}
        return subprocess.Popen(
            [self.root / "scripts" / "setup", *arguments],
            env=env,
            cwd=self.tools,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str, **variables: str) -> tuple[int, str]:
        """Returns exit code and standard error; standard output must stay empty for the command that follows."""
        process = self.start(*arguments, **variables)
        out, err = process.communicate(timeout=60)
        assert out == ""
        return process.returncode, err

    def calls(self) -> list[str]:
        """What the stand-in was asked for since the last look: the first words, without options."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return [" ".join(line.split()[: 2 if line.startswith("pip") else 1]) for line in lines]


MADE = ["venv", "pip install", "pip install"]


@pytest.fixture
def project(tmp_path):
    if not (SCRIPTS / "requirements" / f"py{VERSION}.txt").exists():
        pytest.skip(f"Python {VERSION} has no pinned packages")
    return Project(tmp_path)


def test_the_first_call_says_what_it_does_and_later_ones_are_silent(project):
    code, said = project.run()
    assert code == 0 and project.calls() == MADE
    lines = said.splitlines()
    assert len(lines) == 4 and all(line.startswith("setup: ") for line in lines)
    assert "making" in lines[0] and f"py{VERSION}.txt: about a minute" in lines[1] and lines[3] == "setup: ready"
    assert project.run() == (0, "") and project.calls() == []


def test_other_pins_or_another_place_make_it_anew(project):
    project.run()
    (project.root / ".venv" / "leftover").touch()
    pins = project.root / "scripts" / "requirements" / f"py{VERSION}.txt"
    pins.write_text(pins.read_text() + "one-more==1.0\n")
    project.calls()
    assert project.run()[0] == 0 and project.calls() == MADE
    assert not (project.root / ".venv" / "leftover").exists()
    project.root = project.root.rename(project.root.with_name("moved"))
    assert project.run()[0] == 0 and project.calls() == MADE


def test_two_starts_at_once_make_it_once(project):
    first = project.start(UV_SLEEP="0.5")
    while not (project.log.exists() and "pip" in project.log.read_text()):
        time.sleep(0.02)
    code, said = project.run()
    assert code == 0 and said == "setup: another start is making .venv; waiting for it\n"
    first.communicate(timeout=60)
    assert first.returncode == 0 and project.calls() == MADE


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_start_leaves_nothing_that_counts(project, number):
    process = project.start(UV_SLEEP="30")
    while not (project.log.exists() and "pip" in project.log.read_text()):
        time.sleep(0.02)
    (project.root / ".venv" / "half").touch()
    os.killpg(process.pid, number)
    _, said = process.communicate(timeout=60)
    assert process.returncode != 0 and ("interrupted" in said) == (number == signal.SIGTERM)
    project.calls()
    assert project.run()[0] == 0 and project.calls() == MADE
    assert not (project.root / ".venv" / "half").exists()


def test_a_failed_installation_is_tried_again(project):
    code, said = project.run(UV_FAILS="yes")
    assert code == 3 and said.splitlines()[-1].startswith("setup: the packages could not be installed")
    project.calls()
    assert project.run()[0] == 0 and project.calls() == MADE


def test_an_environment_of_the_users_is_kept(project):
    folder = project.root / ".venv"
    (folder / "bin").mkdir(parents=True)
    (folder / "pyvenv.cfg").touch()
    (folder / "bin" / "python").symlink_to(sys.executable)
    (folder / "mine").touch()
    code, said = project.run()
    assert code == 0 and "environment of your own: it is kept" in said and project.calls() == MADE[1:]
    assert project.run() == (0, "")
    pins = project.root / "scripts" / "requirements" / f"py{VERSION}.txt"
    pins.write_text(pins.read_text() + "one-more==1.0\n")
    assert project.run()[0] == 0 and project.calls() == MADE[1:]
    assert (folder / "mine").exists()


def out_of_date(project: Project) -> Path:
    """Makes the environment, then asks for other pins; returns the folder of its Python."""
    project.run()
    inside = project.root / ".venv" / "bin"
    (inside / "python3").symlink_to(sys.executable)
    pins = project.root / "scripts" / "requirements" / f"py{VERSION}.txt"
    pins.write_text(pins.read_text() + "one-more==1.0\n")
    project.calls()
    return inside


@pytest.mark.parametrize("spelling", ["{root}/.venv/bin", "{root}/.venv/bin/", "{link}/.venv/bin", ".venv/bin"])
def test_an_activated_environment_is_made_anew_without_its_own_python(project, spelling):
    """Its Python and uv are deleted on the way, so they cannot be the ones that make the new environment."""
    inside = out_of_date(project)
    (inside / "uv").write_text("#!/usr/bin/env bash\nexit 9\n")
    (inside / "uv").chmod(0o755)
    link = project.tools / "link"
    link.symlink_to(project.root)
    first = spelling.format(root=project.root, link=link)
    rest = f"{project.tools}{os.pathsep}{os.environ['PATH']}"
    code, said = project.run(PATH=f"{first}{os.pathsep}{rest}", VIRTUAL_ENV=str(inside.parent))
    assert code == 0 and said.endswith("setup: ready\n")
    asked = next(line for line in project.log.read_text().splitlines() if line.startswith("venv "))
    assert f"--python {project.tools}" in asked


def test_without_any_other_python_the_one_below_the_environment_makes_it_anew(project):
    inside = out_of_date(project)
    base = Path(sys._base_executable)  # pyright: ignore[reportAttributeAccessIssue]
    (inside.parent / "pyvenv.cfg").write_text(f"home = {base.parent}\n")
    (inside / "python").unlink()
    (inside / "python").symlink_to(base)
    project.offer("exit 127")
    code, said = project.run(PATH=f"{inside}{os.pathsep}{project.tools}{os.pathsep}{os.environ['PATH']}")
    assert code == 0 and said.endswith("setup: ready\n")
    asked = next(line for line in project.log.read_text().splitlines() if line.startswith("venv "))
    assert f"--python {base.parent}" in asked


def test_without_any_python_the_old_environment_is_left_as_it_is(project):
    inside = out_of_date(project)
    (inside / "python").unlink()
    (inside / "leftover").touch()
    project.offer("exit 127")
    code, said = project.run(PATH=f"{inside}{os.pathsep}{project.tools}{os.pathsep}{os.environ['PATH']}")
    assert code == 2 and len(said.splitlines()) == 1
    assert (inside / "leftover").exists()
    asked = project.log.read_text().splitlines()  # without --system, uv answers with the .venv that is to go
    assert asked and all(line.startswith("python find --system ") for line in asked)


def test_extras_are_remembered(project):
    project.run()
    project.calls()
    assert "with extras cuda bench" in project.run("cuda", "bench")[1]
    assert "[cuda,bench]" in project.log.read_text()
    project.calls()
    assert project.run() == (0, "") and project.run("cuda", "bench") == (0, "") and project.calls() == []


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("exit 127", "no working python3"),
        ('[ "$1" = --version ] && echo Python 3.9.2 || echo 3.9', "Python 3.9.2"),
    ],
)
def test_no_suitable_python_is_one_sentence(project, body, found):
    project.offer(body)
    code, said = project.run()
    assert code == 2 and not (project.root / ".venv").exists()
    assert said.startswith("setup: expected CPython of one of the versions 3.11 3.12 3.13 on PATH, found " + found)
    assert len(said.splitlines()) == 1


def test_a_name_on_the_path_that_does_not_run_is_passed_over(project):
    good = (project.tools / "python3.12").read_text()
    project.offer("exit 127")
    (project.tools / "python3.12").write_text(good)
    assert project.run()[0] == 0


def test_the_command_runs_where_the_caller_stands_with_its_arguments_untouched(project):
    project.run()
    command = project.root / ".venv" / "bin" / "dragon"
    command.write_text('#!/usr/bin/env bash\nprintf "%s|" "$PWD" "$@"\nexit 7\n')
    command.chmod(0o755)
    link = project.tools / "dragon"
    link.symlink_to(project.root / "scripts" / "dragon")
    done = subprocess.run([link, "a b", "", "*"], cwd=project.tools, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (7, f"{project.tools}|a b||*|", "")
