//! A pod's specification, and what of it a container on this machine can be given.

use std::time::Duration;

use serde_json::Value;

use crate::support::{
    podman::{Container, Volume},
    program::run,
};

/// Asks for a page and prints the answer.
const ASK: &str = "exec 3<>\"/dev/tcp/127.0.0.1/$1\"
printf 'GET %s HTTP/1.1\\r\\nHost: pod\\r\\nConnection: close\\r\\n\\r\\n' \"$2\" >&3
cat <&3";

/// Returns the object of this name in a list.
#[track_caller]
fn named<'a>(list: &'a Value, name: &str) -> &'a Value {
    let list = list.as_array().unwrap();
    let found = list.iter().find(|it| it["name"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {list:?}"))
}

/// The specification of a pod with one container.
#[derive(Clone, Copy)]
pub(super) struct Pod<'a>(pub(super) &'a Value);

impl<'a> Pod<'a> {
    /// Returns what a path leads to.
    #[track_caller]
    pub(super) fn at(self, path: &str) -> &'a Value {
        let found = self.0.pointer(path);
        found.unwrap_or_else(|| panic!("no {path} in the pod"))
    }

    pub(super) fn container(self) -> &'a Value {
        self.at("/containers/0")
    }

    /// Returns the number of a port.
    #[track_caller]
    pub(super) fn port(self, name: &str) -> u64 {
        let port = named(&self.container()["ports"], name);
        port["containerPort"].as_u64().unwrap()
    }

    /// Returns a volume.
    #[track_caller]
    pub(super) fn volume(self, name: &str) -> &'a Value {
        named(self.at("/volumes"), name)
    }

    /// Returns the options of `podman run` for all that this machine can enforce, and the volumes that they name;
    /// `contents` returns what is in those that Kubernetes fills.
    ///
    /// The network is one of the container's own. Left out are the placement on nodes and the service account.
    pub(super) fn options<'b>(
        self,
        contents: impl Fn(&str) -> Vec<(&'b str, &'b str)>,
    ) -> (Vec<String>, Vec<Volume>) {
        let mut options = self.confinement();
        let mut volumes = Vec::new();
        for mount in self.container()["volumeMounts"].as_array().unwrap() {
            assert!(mount.get("subPath").is_none(), "it never changes: {mount}");
            let name = mount["name"].as_str().unwrap();
            let path = mount["mountPath"].as_str().unwrap();
            let volume = if self.volume(name).get("emptyDir").is_some() {
                Volume::empty()
            } else {
                Volume::projected(&contents(name))
            };
            options.push(if mount["readOnly"] == true {
                volume.read_only_at(path)
            } else {
                volume.at(path)
            });
            volumes.push(volume);
        }
        (options, volumes)
    }

    fn confinement(self) -> Vec<String> {
        let seccomp = self.at("/securityContext/seccompProfile/type");
        assert_eq!(seccomp, "RuntimeDefault", "podman's own is used");
        let id = |name: &str| self.at(&format!("/securityContext/{name}"));
        assert_eq!(id("fsGroup"), id("runAsGroup"), "the group of volumes");
        let user = format!("--user={}:{}", id("runAsUser"), id("runAsGroup"));
        let memory = self.container()["resources"]["limits"]["memory"].as_str();
        let memory = format!("--memory={}", memory.unwrap().replace("Mi", "m"));
        let own = &self.container()["securityContext"];
        let mut options = vec![user, memory];
        let mut add = |wanted: bool, words: &[&str]| {
            let words = words.iter().map(|word| (*word).to_owned());
            options.extend(words.filter(|_| wanted));
        };
        add(
            own["readOnlyRootFilesystem"] == true,
            &["--read-only", "--read-only-tmpfs=false"],
        );
        add(
            own["allowPrivilegeEscalation"] == false,
            &["--security-opt=no-new-privileges"],
        );
        add(own["capabilities"]["drop"][0] == "ALL", &["--cap-drop=all"]);
        add(true, &["--network=none", "--no-healthcheck"]);
        options
    }

    /// Does what the kubelet does for a probe; returns the status code.
    #[track_caller]
    pub(super) fn probe(self, container: &Container, name: &str) -> u16 {
        let get = &self.container()[name]["httpGet"];
        let port = self.port(get["port"].as_str().unwrap()).to_string();
        let path = get["path"].as_str().unwrap();
        let command = container.in_network(&["bash", "-c", ASK, "bash", &port, path]);
        let answer = run(command, Duration::from_secs(10)).answer();
        answer.split(' ').nth(1).unwrap().parse().unwrap()
    }
}
