//! `tests/broker.sh`, which fetches another RabbitMQ than the installed one: with stand-ins for the
//! programs that it calls, so that each of its failures is tested. That the broker works is shown by the
//! other suites of `tests/run --broker`.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A project with only these scripts, and a folder with all programs in their PATH.
struct Project(PathBuf);

impl Project {
    fn new(name: &str) -> Self {
        let folder = format!("listener-choice-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("tests")).unwrap();
        fs::create_dir_all(folder.join("bin")).unwrap();
        for script in ["install.sh", "broker.sh", "broker-command.sh"] {
            let from = Path::new(env!("CARGO_MANIFEST_DIR")).join(script);
            fs::copy(from, folder.join("tests").join(script)).unwrap();
        }
        let project = Self(folder);
        let real = [
            "awk", "basename", "bash", "chmod", "cmp", "cp", "flock", "grep", "mkdir", "mv", "rm",
            "tail",
        ];
        for program in real {
            let found = ["/usr/bin", "/bin"].iter().map(|folder| Path::new(folder).join(program));
            let found = found.into_iter().find(|path| path.exists());
            let found = found.unwrap_or_else(|| panic!("there is no {program}"));
            symlink(found, project.0.join("bin").join(program)).unwrap();
        }
        project.program("id", "echo 0");
        project.program("apt-get", "exit 1");
        project.program("unshare", "shift; exec \"$@\"");
        // Its --admindir is the folder in which the stand-in for debootstrap wrote a version.
        project.program(
            "dpkg-query",
            "read -r version <\"${1#--admindir=}/version\" && echo $version",
        );
        project
    }

    fn program(&self, name: &str, script: &str) {
        let path = self.0.join("bin").join(name);
        fs::write(&path, format!("#!/bin/bash\n{script}\n")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// A stand-in for debootstrap that finds this version in the release.
    fn offer(&self, version: &str) {
        self.program(
            "debootstrap",
            &format!(
                "root=$4; mkdir -p $root/var/lib/dpkg $root/etc $root/usr/lib/rabbitmq/bin
                 echo {version} >$root/var/lib/dpkg/version
                 for name in server ctl; do echo >$root/usr/lib/rabbitmq/bin/rabbitmq-$name; done"
            ),
        );
    }

    /// The folder of the commands, or the status and the output.
    fn choose(&self, version: &str) -> Result<PathBuf, (i32, String)> {
        let script = ". tests/install.sh; . tests/broker.sh; choose_broker $0 >&2; \
                      echo \"${LISTENER_RABBITMQ:-the installed one}\"";
        let mut command = Command::new("bash");
        command.args(["-euo", "pipefail", "-c", script, version]).current_dir(&self.0);
        let path = self.0.join("bin");
        let output = command.env_clear().env("PATH", path).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if !output.status.success() {
            return Err((output.status.code().unwrap(), said));
        }
        Ok(PathBuf::from(String::from_utf8(output.stdout).unwrap().trim()))
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[track_caller]
fn refuses(project: &Project, version: &str, status: i32, words: &str) {
    let (found, said) = project.choose(version).unwrap_err();
    assert!(said.contains(words), "{said}");
    assert_eq!(found, status, "{said}");
}

#[test]
fn a_broker_is_fetched_once_and_reused() {
    let project = Project::new("once");
    project.offer("4.3.6-1");
    let commands = project.choose("4.3").unwrap();
    assert_eq!(commands, project.0.canonicalize().unwrap().join("target/rabbitmq-4.3/bin"));
    assert!(commands.join("rabbitmq-server").is_file());
    project.program("debootstrap", "exit 1");
    assert_eq!(project.choose("4.3"), Ok(commands));
}

#[test]
fn the_installed_broker_needs_no_fetch() {
    let project = Project::new("installed");
    project.program("id", "echo 1000");
    assert_eq!(project.choose("3.10"), Ok(PathBuf::from("the installed one")));
}

#[test]
fn an_incomplete_folder_is_never_used() {
    let project = Project::new("half");
    project.program("debootstrap", "mkdir -p $4/usr/lib/rabbitmq/bin; echo no network; exit 1");
    refuses(&project, "4.3", 1, "no network");
    refuses(&project, "4.3", 1, "could not be fetched");
    project.offer("4.3.6-1");
    project.choose("4.3").unwrap();
}

#[test]
fn a_release_with_another_version_is_reported() {
    let project = Project::new("moved");
    project.offer("4.4.0-2");
    refuses(&project, "4.3", 1, "Debian sid has RabbitMQ 4.4 now, and 4.3 was requested");
    refuses(&project, "4.0", 1, "Debian trixie has RabbitMQ 4.4 now, and 4.0 was requested");
}

#[test]
fn an_unsuitable_machine_is_reported_with_a_fix() {
    let project = Project::new("told");
    refuses(&project, "5.0", 2, "there is no RabbitMQ 5.0 for the tests: 3.10");
    project.program("id", "echo 1000");
    refuses(&project, "4.3", 1, "as root");
    fs::remove_file(project.0.join("bin/apt-get")).unwrap();
    refuses(&project, "4.3", 1, "set LISTENER_RABBITMQ to the folder of its commands");
}
